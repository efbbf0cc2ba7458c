"""Writes raw datasets with the schema declared in `features.datasets`: in chunks, compressed, and all or nothing; events by UTC day."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.datasets import dataset
from features.errors import BadInput
from features.schema import Dataset

ROWS_PER_FILE = 1_000_000
"""About 30 MB of compressed events: one Spark task reads one file in seconds."""
ROWS_PER_GROUP = 131_072
"""Bounds the writer's memory; big enough for dictionaries and statistics to pay."""
UNDATED_FOLDER = "undated"


@contextmanager
def staged_lake(lake: Path) -> Iterator[Path]:
    """A directory to fill, which becomes `lake` when the block ends well and vanishes when it does not.

    A killed process leaves a hidden `.NAME.*.partial` beside the target and the target as it was. Raises BadInput when
    `lake` is a file or has anything in it.
    """
    refuse_non_empty(lake)
    lake.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{lake.name}.", suffix=".partial", dir=lake.parent))
    staging.chmod(0o755)  # mkdtemp makes private directories; a lake is read by other accounts too
    try:
        yield staging
        refuse_non_empty(lake)
        staging.rename(lake)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def refuse_non_empty(lake: Path) -> None:
    """BadInput unless `lake` is absent or an empty directory."""
    if lake.exists() and not lake.is_dir():
        raise BadInput(f"{lake} is a file; name a directory that is empty or does not exist yet.")
    if lake.is_dir() and any(lake.iterdir()):
        raise BadInput(f"{lake} is not empty; name a new directory.")


def write_raw(root: Path, name: str, tables: Iterable[pa.Table], partition: str = "") -> int:
    """Append `tables` as `<root>/raw/<name>/[<partition>/]part-NNNNN.parquet`; returns the number of rows.

    Columns are put into the declared order and cast to the declared types. Optional columns may be missing. Partition
    columns live in the path only. Without any table nothing is written. Raises BadInput for a missing, unknown,
    uncastable or null required column.
    """
    directory = root / "raw" / name / partition
    directory.mkdir(parents=True, exist_ok=True)
    declared = dataset(name)
    rows = rows_in_file = 0
    writer: pq.ParquetWriter | None = None
    try:
        for table in _slices(tables):
            conformed = conform(table, declared)
            if writer is None or rows_in_file + conformed.num_rows > ROWS_PER_FILE:
                writer = _next_file(directory, conformed.schema, writer)
                rows_in_file = 0
            writer.write_table(conformed, row_group_size=ROWS_PER_GROUP)
            rows_in_file += conformed.num_rows
            rows += conformed.num_rows
    finally:
        if writer is not None:
            writer.close()
    return rows


def _slices(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    for table in tables:
        for start in range(0, max(table.num_rows, 1), ROWS_PER_FILE):
            yield table.slice(start, ROWS_PER_FILE)


def _next_file(directory: Path, schema: pa.Schema, last: pq.ParquetWriter | None) -> pq.ParquetWriter:
    if last is not None:
        last.close()
    number = len(list(directory.glob("part-*.parquet")))
    return pq.ParquetWriter(directory / f"part-{number:05d}.parquet", schema, compression="zstd")


def conform(table: pa.Table, declared: Dataset) -> pa.Table:
    """`table` in declared column order and types, partition columns left out; BadInput says which column is wrong."""
    unknown = set(table.column_names) - set(declared.names)
    if unknown:
        raise BadInput(
            f"Dataset {declared.name} has no column {sorted(unknown)[0]}; it has {', '.join(declared.names)}."
        )
    fields, columns = [], []
    for column in declared.columns:
        if column.name in declared.partition_by:
            continue
        if column.name in table.column_names:
            values = _cast(table[column.name], column.type, f"{declared.name}.{column.name}")
            if values.null_count and not declared.may_be_null(column):
                raise BadInput(f"{declared.name}.{column.name} is empty in {values.null_count} rows; it is mandatory.")
            fields.append(pa.field(column.name, column.type, nullable=declared.may_be_null(column)))
            columns.append(values)
        elif column.required:
            raise BadInput(f"Dataset {declared.name} needs a column {column.name}, which is missing.")
    return pa.table(columns, schema=pa.schema(fields))


def _cast(values: pa.ChunkedArray, to: pa.DataType, where: str) -> pa.ChunkedArray:
    try:
        return values.cast(to)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise BadInput(f"{where} cannot be read as {to}: {str(error).splitlines()[0]}") from error


def write_events(staging: Path, db: duckdb.DuckDBPyConnection, query: str) -> int:
    """Write raw `events` from a query that is sorted by `occurred_at`; returns the number of rows.

    Streams: never more than a batch is in memory.
    """
    reader = db.sql(query).to_arrow_reader(ROWS_PER_GROUP)
    pieces = (piece for batch in reader for piece in _days(pa.Table.from_batches([batch])))
    return sum(
        write_raw(staging, "events", (table for _, table in group), f"dt={day}" if day else UNDATED_FOLDER)
        for day, group in groupby(pieces, key=lambda piece: piece[0])
    )


def _days(table: pa.Table) -> Iterator[tuple[str | None, pa.Table]]:
    days = pc.strftime(table["occurred_at"].cast(pa.timestamp("us", "UTC")), "%Y-%m-%d").combine_chunks()
    runs = pc.run_end_encode(days)
    start = 0
    for day, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
        yield day, table.slice(start, end - start)
        start = end
