"""Imports any CSV or Parquet files, described by a mapping file (see lake/mapping.py), as a raw lake."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
from rich.progress import Progress

from features.datasets import dataset
from features.errors import BadInput
from lake.conversions import Conversion, constant, conversion, literal, quoted
from lake.events_by_day import write_events
from lake.mapping import Mapping, TableMapping, load_mapping
from lake.summary import ImportSummary
from lake.writer import ROWS_PER_GROUP, staged_lake, write_raw


def import_table(mapping_file: Path, lake: Path, progress: Progress | None = None) -> ImportSummary:
    """Write what `mapping_file` describes as a raw lake; all of it or nothing.

    Raises BadInput for a missing or unreadable file, a missing, unknown or unmapped mandatory column, and a cell that
    does not convert (with its row and value).
    """
    mapping = load_mapping(mapping_file)
    rows: dict[str, int] = {}
    task = progress.add_task("import tables", total=len(mapping.table) + 1) if progress else None
    with duckdb.connect() as db, staged_lake(lake) as staging:
        db.execute("SET TimeZone = 'UTC'")  # what a time without a zone means
        for table in mapping.table:
            written = _import(db, table, mapping_file.parent / table.file, staging)
            rows[table.dataset] = rows.get(table.dataset, 0) + written
            if progress is not None and task is not None:
                progress.advance(task)
        if mapping.derive_stories:
            rows["stories"] = rows.get("stories", 0) + _derive_stories(db, mapping, staging)
        if progress is not None and task is not None:
            progress.advance(task)
    return ImportSummary(rows)


def _import(db: duckdb.DuckDBPyConnection, table: TableMapping, path: Path, staging: Path) -> int:
    types = _open(db, path, table.delimiter)
    for source in table.columns.values():
        if source not in types:
            raise BadInput(f"{path} has no column {source!r}; it has {', '.join(types)}.")
    declared = dataset(table.dataset)
    conversions = [
        conversion(table, column.name, column.type, types[table.columns[column.name]])
        if column.name in table.columns
        else constant(column.name, table.constants[column.name], column.type)
        for column in declared.columns
        if column.name in table.columns or column.name in table.constants
    ]
    for each in conversions:
        required = declared.column(each.name).required
        _check(db, each, path, required)
    query = f"SELECT {', '.join(f'{each.sql} AS {each.name}' for each in conversions)} FROM source"
    if table.dataset == "events":
        return write_events(staging, db, f"{query} ORDER BY occurred_at, row_")
    reader = db.sql(f"{query} ORDER BY row_").to_arrow_reader(ROWS_PER_GROUP)
    return write_raw(staging, table.dataset, map(_as_table, reader))


def _as_table(batch: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches([batch])


def _open(db: duckdb.DuckDBPyConnection, path: Path, delimiter: str) -> dict[str, str]:
    """Make `source` of the file, with `row_` as its reader counts (a CSV's header is row 1); its columns' types."""
    if not path.is_file():
        raise BadInput(f"There is no file {path}; paths in a mapping file are relative to it.")
    is_parquet = path.suffix in (".parquet", ".pq")
    csv = f"read_csv(?, header=true, all_varchar=true, delim={literal(delimiter)}, quote='\"', escape='\"')"
    scan, first_row = ("read_parquet(?)", 1) if is_parquet else (csv, 2)
    numbered = f"SELECT row_number() OVER () + {first_row - 1} AS row_, * FROM {scan}"
    try:
        db.execute(f"CREATE OR REPLACE TEMP TABLE source AS {numbered}", [str(path)])
    except duckdb.Error as error:
        kind = "Parquet" if is_parquet else "CSV"
        raise BadInput(f"{path} is not a readable {kind} file: {str(error).splitlines()[0]}") from error
    if db.execute("SELECT count(*) FROM source").fetchone() == (0,):
        raise BadInput(f"{path} has no rows; leave it out of the mapping or fill it.")
    described = db.execute("DESCRIBE source").fetchall()
    return {name: kind for name, kind, *_ in described if name != "row_"}


def _check(db: duckdb.DuckDBPyConnection, each: Conversion, path: Path, required: bool) -> None:
    """BadInput for the first cell that is there but does not convert, or is mandatory but empty."""
    cell = f"nullif(trim({quoted(each.source)}::VARCHAR), '')" if each.source else "'constant'"
    found = db.execute(
        f"SELECT row_, {cell} FROM source WHERE {each.sql} IS NULL AND ({cell} IS NOT NULL OR {required}) ORDER BY row_ LIMIT 1"
    ).fetchone()
    if found is None:
        return
    row, value = found
    if value is None:
        raise BadInput(f"{path}, row {row}: {each.source!r} is empty, but {each.name} is mandatory.")
    raise BadInput(f"{path}, row {row}: {(each.source or each.name)!r} {value!r} is not {each.expects}.")


def _derive_stories(db: duckdb.DuckDBPyConnection, mapping: Mapping, staging: Path) -> int:
    """Stories that only events name: published when first touched."""
    described = any(table.dataset == "stories" for table in mapping.table)
    known = f"WHERE story_id NOT IN (SELECT story_id FROM read_parquet('{staging}/raw/stories/*.parquet'))"
    query = f"""
        SELECT story_id, min(occurred_at) AS published_at
        FROM read_parquet('{staging}/raw/events/*/*.parquet', hive_partitioning=false)
        {known if described else ""} GROUP BY story_id ORDER BY published_at, story_id
    """
    derived = db.sql(query).to_arrow_table()
    return write_raw(staging, "stories", [derived]) if derived.num_rows or not described else 0
