"""Parquet files as a query: by their literal names, without partitions from paths, text that is only marked as bytes decoded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from features.duckdb_sql import literal, quoted
from features.errors import BadInput
from features.lake_files import ROW
from features.schema import by_name
from lake.importing.conversions import FRACTIONS, INTEGERS
from lake.importing.source_files import ORIGIN, SourceFile


def parquet_query(db: duckdb.DuckDBPyConnection, sources: Sequence[SourceFile], paths: Sequence[Path]) -> str:
    """SELECT over the files at `paths` (names that DuckDB takes literally), columns matched by name, with `file` and `line`.

    BadInput, naming file and column, for what is no Parquet, two columns of one name, bytes that are no UTF-8, and types
    that differ between files other than by the kind of number.
    """
    columns = [_columns(db, source, path) for source, path in zip(sources, paths, strict=True)]
    mixed = _mixed(sources, columns)
    own = {name.casefold() for types in columns for name in types}
    selects = []
    for source, path, types in zip(sources, paths, columns, strict=True):
        cells = [
            f"{_cell(db, source, path, name, kind, name.casefold() in mixed)} AS {quoted(name)}"
            for name, kind in types.items()
        ]
        origin = {ORIGIN[0]: literal(source.name), ORIGIN[1]: f"{ROW} + 1"}
        cells += [f"{sql} AS {name}" for name, sql in origin.items() if name not in own]
        selects.append(f"SELECT {', '.join(cells)} FROM {_scan(path)}")
    return " UNION ALL BY NAME ".join(selects)


def _scan(path: Path) -> str:
    return f"read_parquet([{literal(path)}], hive_partitioning = false, file_row_number = true)"


def _columns(db: duckdb.DuckDBPyConnection, source: SourceFile, path: Path) -> dict[str, str]:
    """Column → DuckDB's name of its type."""
    try:
        with source.path.open("rb") as file:
            names = pq.read_schema(file).names
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise BadInput(f"{source.name} is not a readable Parquet file: {str(error).splitlines()[0]}") from error
    except OSError as error:
        why = error.strerror or str(error).splitlines()[0]
        raise BadInput(f"{source.name} cannot be read as Parquet: {why}.") from error
    if taken := by_name(source.name, names).keys() & {ROW}:
        raise BadInput(f"{source.name}: Rex needs the name {min(taken)!r} for itself; give the column another name.")
    try:
        described = db.execute(f"DESCRIBE SELECT * FROM {_scan(path)}").fetchall()
    except duckdb.Error as error:
        raise BadInput(f"{source.name} cannot be read: {str(error).splitlines()[0]}") from error
    return {name: kind for name, kind, *_ in described if name != ROW}


def _mixed(sources: Sequence[SourceFile], columns: Sequence[dict[str, str]]) -> set[str]:
    """Columns that are numbers of several kinds in several files: as text, because a float holds few whole numbers."""
    first: dict[str, tuple[str, str]] = {}
    mixed = set()
    for source, types in zip(sources, columns, strict=True):
        for name, kind in types.items():
            other, before = first.setdefault(name.casefold(), (source.name, kind))
            if before == kind:
                continue
            if not all(one.startswith((*INTEGERS, *FRACTIONS)) and "[" not in one for one in (before, kind)):
                raise BadInput(
                    f"{name!r} is {before} in {other}, but {kind} in {source.name}; read them separately and combine them with "
                    "UNION ALL BY NAME."
                )
            mixed.add(name.casefold())
    return mixed


def _cell(db: duckdb.DuckDBPyConnection, source: SourceFile, path: Path, name: str, kind: str, is_mixed: bool) -> str:
    column = quoted(name)
    if is_mixed and kind.startswith(FRACTIONS):
        return f"whole({column})"
    if is_mixed:
        return f"{column}::VARCHAR"
    if kind not in ("BLOB", "BLOB[]"):
        return column
    decoded = f"decode({column})" if kind == "BLOB" else f"list_transform({column}, lambda b: decode(b))"
    bad = db.execute(
        f"SELECT {ROW} + 1 FROM {_scan(path)} WHERE {column} IS NOT NULL AND try({decoded}) IS NULL ORDER BY 1 LIMIT 1"
    ).fetchone()
    if bad:
        raise BadInput(
            f"{source.name}, row {bad[0]}: {name!r} holds bytes that are not UTF-8; leave the column out of the file, or write it as text."
        )
    return decoded
