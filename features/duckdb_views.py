"""The lake as DuckDB views, one a dataset, generated from the declarations. For analysts, notebooks and the publisher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from features.datasets import ALL
from features.duckdb_sql import literal, quoted
from features.errors import BadInput
from features.lake_files import FILE, Group, Stored, inspect
from features.lake_layout import PARTITION_FORMAT, duckdb_path
from features.partitions import is_written, partition_files, written
from features.schema import TS, WHITE_SPACE, Column, Dataset
from features.stored_types import BINARY, NANOS
from features.times import micros
from features.verdicts import NUMBER_OUT_OF_RANGE, TEXT_NOT_UTF8

SQL_TYPES = {
    pa.string(): "VARCHAR",
    pa.bool_(): "BOOLEAN",
    pa.int32(): "INTEGER",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.date32(): "DATE",
    TS: "TIMESTAMPTZ",
    pa.list_(pa.string()): "VARCHAR[]",
    pa.list_(pa.float32()): "FLOAT[]",
}
"""Of the types that raw datasets have."""


def connect(lake: Path, as_of: datetime | None = None) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with one view per dataset, in declared columns and order; times are UTC.

    What a lake lacks is there all the same: a missing column is null, a missing dataset an empty view. Derived datasets show what
    counts as written (features/partitions.py), of `as_of` only if it is given. BadInput when `lake` is no directory or holds a file that cannot be read as declared.
    """
    if not lake.is_dir():
        raise BadInput(f"There is no lake at {lake}; set REX_LAKE or make one with `rex simulate` or `rex import`.")
    connection = connect_to(lake, {})
    for dataset in ALL.values():
        derived = dataset.layer == "features"
        _show(
            connection, dataset, _written(lake, dataset, as_of) if derived else raw_scans(lake, dataset, partial=True)
        )
    return connection


def connect_to(
    lake: Path, partitions: Mapping[str, datetime], known_at: datetime | None = None
) -> duckdb.DuckDBPyConnection:
    """The same with views of derived datasets only, each of the partition given; `known_at`: of rows that say from when they are
    known, those known by then. BadInput when a partition has not been written."""
    connection = duckdb.connect(config={"autoinstall_known_extensions": False})
    connection.execute("SET TimeZone = 'UTC'")
    for name, partition in partitions.items():
        where = ""
        if known_at is not None and "valid_from" in ALL[name].names:
            where = f"WHERE valid_from <= make_timestamptz({micros(known_at)})"
        _show(connection, ALL[name], _derived(lake, ALL[name], [partition]), where)
    return connection


def _show(connection: duckdb.DuckDBPyConnection, dataset: Dataset, scans: Sequence[str], where: str = "") -> None:
    """A view of all rows of the scans that meet the condition; BadInput when they cannot be read."""
    connection.register(f"empty_{dataset.name}", dataset.arrow_schema().empty_table())
    columns = ", ".join(map(quoted, dataset.names))
    query = " UNION ALL BY NAME ".join([f"SELECT * FROM empty_{dataset.name}", *scans])
    try:
        connection.execute(f'CREATE VIEW "{dataset.name}" AS SELECT {columns} FROM ({query}) {where}')
    except duckdb.Error as error:
        raise BadInput(f"Dataset {dataset.name} cannot be read: {str(error).splitlines()[0]}") from error


def raw_scans(lake: Path, dataset: Dataset, partial: bool = False) -> list[str]:
    """One SELECT a group of files, in declared columns and types. BadInput for a file that cannot be read as declared.

    `partial`: required columns may be missing; they are null then.
    """
    return [raw_scan(dataset, group) for group in inspect(dataset, lake / "raw" / dataset.name, partial)]


def raw_scan(dataset: Dataset, group: Group, more: Sequence[str] = ()) -> str:
    """SELECT of one group; `more`: further expressions over what its files hold, and FILE."""
    pairs = zip(dataset.columns, group.stored, strict=True)
    columns = [f"{_value(dataset, column, stored)} AS {quoted(column.name)}" for column, stored in pairs]
    return f"SELECT {', '.join([*columns, *more])} FROM {_scan(group.files)}"


def _scan(files: Sequence[Path]) -> str:
    names = ", ".join(literal(duckdb_path(path)) for path in files)
    return f"read_parquet([{names}], union_by_name = true, hive_partitioning = false, filename = '{FILE}')"


def _value(dataset: Dataset, column: Column, stored: Stored) -> str:
    if not stored.name and column.name in dataset.partition_by:
        return _of_folder(column)
    value = quoted(stored.name) if stored.name else "NULL" if stored.value is None else literal(stored.value)
    if pa.types.is_timestamp(column.type) and stored.form == NANOS:  # cut off, as Spark does, not rounded
        value = micros_of_nanos(value)
    text = f"TRY(decode({value}))" if stored.form == BINARY else value
    if pa.types.is_list(column.type) and stored.name and pa.types.is_string(column.type.value_type):
        element = "TRY(decode(x))" if BINARY in stored.form else "x"
        trimmed = f"list_transform({value}, lambda x: trim({element}, '{WHITE_SPACE}'))"
        text = f"list_filter({trimmed}, lambda x: x <> '')"
    return f"TRY_CAST({text} AS {SQL_TYPES[column.type]})"


def micros_of_nanos(value: str) -> str:
    """A time in nanoseconds as one in microseconds, cut off; null for what is no finite time."""
    return f"TRY(make_timestamptz(epoch_ns({value}) // 1000))"


def misfit(column: Column, stored: Stored) -> str | None:
    """Expression: why a value of a column cannot become its declared type, null where it can; None: every value can."""
    if not stored.name:
        return None
    value = quoted(stored.name)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return f"CASE WHEN {value} IS NOT NULL AND TRY_CAST({value} AS {SQL_TYPES[column.type]}) IS NULL THEN '{NUMBER_OUT_OF_RANGE}' END"
    if BINARY not in stored.form:
        return None
    broken = "{0} IS NOT NULL AND TRY(decode({0})) IS NULL"
    some = f"len(list_filter({value}, lambda x: {broken.format('x')})) > 0"
    return f"CASE WHEN {broken.format(value) if stored.form == BINARY else some} THEN '{TEXT_NOT_UTF8}' END"


def _of_folder(column: Column) -> str:
    """The value of a partition folder, null where there is none; the last such folder of the path is the dataset's."""
    text = f"nullif(regexp_extract({FILE}, '.*/{column.name}=([^/]*)/', 1), '')"
    if pa.types.is_timestamp(column.type):
        return f"strptime({text}, '{PARTITION_FORMAT}') AT TIME ZONE 'UTC'"
    return f"TRY_CAST({text} AS DATE)"


def _written(lake: Path, dataset: Dataset, as_of: datetime | None) -> list[str]:
    """Of the partitions that count, those of `as_of`; None: all."""
    if as_of is None:
        return _derived(lake, dataset, written(lake, dataset.name))
    return _derived(lake, dataset, [as_of] if is_written(lake, [dataset.name], as_of) else [])


def _derived(lake: Path, dataset: Dataset, as_ofs: Sequence[datetime]) -> list[str]:
    """The files that jobs wrote, which hold the declared columns but for those of folders."""
    files = [path for as_of in as_ofs for path in partition_files(lake, dataset.name, as_of)]
    folders = [f"{_of_folder(dataset.column(name))} AS {quoted(name)}" for name in dataset.partition_by]
    return [f"SELECT {', '.join(['*', *folders])} FROM {_scan(files)}"] if files else []
