"""The lake as DuckDB views, one a dataset, generated from the declarations. For analysts, notebooks and the publisher."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import duckdb

from features.datasets import ALL
from features.errors import BadInput
from features.schema import Dataset

PARTITION_FORMAT = "%Y-%m-%dT%H-%M-%SZ"
"""`as_of` in a path: UTC, whole seconds, no character that a file system or a URL would mind."""


def partition_name(as_of: datetime) -> str:
    """`as_of=2026-01-31T00-00-00Z`, the directory of one partition. BadInput without a time zone."""
    if as_of.tzinfo is None:
        raise BadInput(f"The as_of {as_of} has no time zone; write for example {as_of.isoformat()}Z.")
    return f"as_of={as_of.astimezone(UTC):{PARTITION_FORMAT}}"


def connect(lake: Path, as_of: datetime | None = None) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with one view per dataset, in declared columns and order; times are UTC.

    What a lake lacks is there all the same: a missing column is null, a missing dataset an empty view. `as_of`: derived
    datasets show this partition only. BadInput when `lake` is no directory or holds a file that is not Parquet.
    """
    if not lake.is_dir():
        raise BadInput(f"There is no lake at {lake}; set REX_LAKE or make one with `rex simulate` or `rex import`.")
    connection = duckdb.connect(config={"autoinstall_known_extensions": False})
    connection.execute("SET TimeZone = 'UTC'")
    for dataset in ALL.values():
        _create_view(connection, dataset, _files(lake, dataset, as_of))
    return connection


def _files(lake: Path, dataset: Dataset, as_of: datetime | None) -> list[str]:
    folder = lake / dataset.layer / dataset.name
    if as_of is not None and "as_of" in dataset.partition_by:
        folder /= partition_name(as_of)
    return sorted(str(path) for path in folder.rglob("*.parquet") if not _hidden(path.relative_to(folder)))


def _hidden(path: Path) -> bool:
    """Spark's and Arrow's habit: what starts with `_` or `.` is not data."""
    return any(part.startswith(("_", ".")) for part in path.parts)


def _create_view(connection: duckdb.DuckDBPyConnection, dataset: Dataset, files: list[str]) -> None:
    connection.register(f"empty_{dataset.name}", dataset.arrow_schema().empty_table())
    partitioned = [file for file in files if all(f"/{column}=" in file for column in dataset.partition_by)]
    flat = sorted(set(files) - set(partitioned))  # as a user may write them; dt is null there
    scans = [_scan(dataset, partitioned, dataset.partition_by), _scan(dataset, flat, ())]
    query = " UNION ALL BY NAME ".join([f"SELECT * FROM empty_{dataset.name}", *filter(None, scans)])
    columns = ", ".join(f'"{name}"' for name in dataset.names)
    try:
        connection.execute(f'CREATE VIEW "{dataset.name}" AS SELECT {columns} FROM ({query})')
    except duckdb.Error as error:
        raise BadInput(f"Dataset {dataset.name} cannot be read: {str(error).splitlines()[0]}") from error


def _scan(dataset: Dataset, files: list[str], partition_by: tuple[str, ...]) -> str:
    """SELECT over the Parquet files, with the partition columns from the path; empty for no files."""
    if not files:
        return ""
    names = ", ".join("'" + name.replace("'", "''") + "'" for name in files)
    types = ", ".join(f"'{column}': {_PATH_TYPES[column]}" for column in partition_by)
    hive = f"true, hive_types = {{{types}}}" if partition_by else "false"
    as_of = f"strptime(as_of, '{PARTITION_FORMAT}') AT TIME ZONE 'UTC' AS as_of"
    replace = f" REPLACE ({as_of})" if "as_of" in partition_by else ""
    return f"SELECT *{replace} FROM read_parquet([{names}], union_by_name = true, hive_partitioning = {hive})"


_PATH_TYPES = {"as_of": "VARCHAR", "dt": "DATE"}
"""Type of each partition column as it stands in a path."""
