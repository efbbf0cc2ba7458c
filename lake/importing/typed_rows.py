"""What a view yields as typed rows of a raw dataset: every row is counted, and every row that cannot be one says why, with its cell and its line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from features.duckdb_sql import literal, quoted
from features.duckdb_views import SQL_TYPES
from features.errors import BadInput
from features.schema import Column, Dataset
from features.verdicts import CONFLICTING, IN_THE_FUTURE, REPEATED, UNKNOWN_STORY
from lake.importing.conversions import Conversion, conversion
from lake.importing.script import OWN_READERS
from lake.importing.source_files import ORIGIN
from lake.row_checks import CELL_CHARACTERS, DatasetReport, check_rows
from lake.writer import ROWS_PER_GROUP
from rex.local.faults import first_line

EMPTY = "is empty, but mandatory"


@dataclass(frozen=True, slots=True)
class TypedRows:
    """The rows of one dataset, as they would be written."""

    dataset: Dataset
    path: Path
    values: Mapping[str, str]
    """Declared column → expression over the file, of those that are to be written."""
    report: DatasetReport

    @property
    def query(self) -> str:
        """SELECT of the rows, without what is only known of them; `ORDER BY _row` puts them into the view's order."""
        columns = (f"{value} AS {quoted(name)}" for name, value in self.values.items())
        return f"SELECT {', '.join(columns)} FROM {_scan(self.path)}"


def typed_rows(
    db: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    to: Path,
    now: datetime,
    where: str,
    stories: Path | None = None,
    as_of: datetime | None = None,
) -> TypedRows:
    """Runs the view called like `dataset`, once, and keeps its rows at `to` as Parquet. `where`: what messages call the view.
    `stories`: the stored rows of those that events may be about. `as_of`: when undated rows count as received.

    BadInput for a column that the dataset does not have, a mandatory one that is missing, a type that no cell of it can be
    converted from, rows without dates that need some or an `as_of`, and a view that yields other rows each time.
    """
    conversions, origin = _plan(db, dataset, where)
    try:
        _store(db, _typed(dataset, conversions, origin), to)
        [(yielded,)] = db.execute(f"SELECT count(*) FROM {quoted(dataset.name)}").fetchall()
    except duckdb.Error as error:
        failed(error, where)
    [(rows,)] = db.execute(f"SELECT count(*) FROM {_scan(to)}").fetchall()
    if rows != yielded:
        raise BadInput(
            f"{where} yields {rows:,} rows, and {yielded:,} when asked again; its result must be the same each time."
        )
    undated = _lacks_dates(db, dataset, to, rows, as_of)
    values = {c.column.name: quoted(c.column.name) for c in conversions}
    if undated:
        versions = [values[name] for name in dataset.times[1:-1] if name in values]  # none is known before it was made
        since = f"greatest({', '.join([f'{literal(as_of)}::TIMESTAMPTZ', *versions])})"
        values["received_at"] = f"coalesce({values.get('received_at', 'NULL')}, {since})"
    known = None if stories is None else f"SELECT story_id FROM {_scan(stories)}"
    report = check_rows(db, dataset, _as_declared(dataset, values, to), now, stories=known, undated=undated)
    if report.hints:
        raise BadInput(" ".join(report.hints) + " In SQL, convert them with unix_s(x), unix_ms(x) and the like.")
    refused = {reason: rows for reason, rows in report.refused.items() if reason != REPEATED}  # an import keeps repeats
    return TypedRows(dataset, to, values, replace(report, refused=refused))


def _as_declared(dataset: Dataset, values: Mapping[str, str], path: Path) -> str:
    """SELECT of the rows with every column that the dataset has, and what `check_rows` looks at besides."""
    columns = [f"{values.get(c.name, f'NULL::{SQL_TYPES[c.type]}')} AS {quoted(c.name)}" for c in dataset.columns]
    return f"SELECT {', '.join([*columns, '_file', '_line', '_row', '_problem'])} FROM {_scan(path)}"


def _store(db: duckdb.DuckDBPyConnection, query: str, to: Path) -> None:
    """In a stream. DuckDB's own COPY never returns when the disk is full; what it gives to Arrow keeps no order, so rows are numbered."""
    reader = db.sql(query).to_arrow_reader(ROWS_PER_GROUP)
    with pq.ParquetWriter(to, reader.schema, compression="lz4") as writer:
        while (batch := _next(reader)) is not None:
            writer.write_batch(batch)


def _next(reader: pa.RecordBatchReader) -> pa.RecordBatch | None:
    """The next batch; duckdb.Error for what DuckDB raises on the way, which Arrow makes errors of its own of."""
    try:
        return reader.read_next_batch()
    except StopIteration:
        return None
    except (OSError, pa.ArrowException) as error:
        kind = duckdb.OutOfMemoryException if "Out of Memory Error" in str(error) else duckdb.Error
        raise kind(str(error)) from error


def failed(error: duckdb.Error, where: str) -> NoReturn:
    """BadInput with what DuckDB says of a statement, and what to do where it is about files; a full disk or memory is not the
    SQL's fault, and is raised as it is."""
    if isinstance(error, (duckdb.OutOfMemoryException, duckdb.IOException)):
        raise error
    guesses = re.findall(r"^(?:Candidate|Did you mean)[^\n]*(?:\n\t[^\n]*)*", str(error), re.MULTILINE)
    said = " ".join(" ".join([first_line(error), *guesses]).split())
    if "disabled by configuration" in said or "Permission Error" in said:
        raise BadInput(f"{where}: {said}; files are read by {OWN_READERS} alone.") from error
    raise BadInput(f"{where} cannot be run: {said}") from error


def _plan(db: duckdb.DuckDBPyConnection, dataset: Dataset, where: str) -> tuple[list[Conversion], dict[str, str]]:
    """Conversions in declared order, and where the view passes on `file` and `line`."""
    try:
        described = db.execute(f"DESCRIBE SELECT * FROM {quoted(dataset.name)}").fetchall()
    except duckdb.Error as error:
        failed(error, where)
    declared = {c.name.casefold(): c for c in dataset.columns if c.name not in dataset.partition_by}
    given: dict[str, Conversion] = {}
    origin: dict[str, str] = {}
    for name, kind, *_ in described:
        column = declared.get(name.casefold())
        if column is None and name.casefold() in ORIGIN:
            origin[name.casefold()] = quoted(name)
        elif column is None:
            close = get_close_matches(name.casefold(), declared, 1)
            meant = f"did you mean {close[0]}? It has" if close else "it has"
            raise BadInput(
                f"{where} yields {name}, which {dataset.name} does not have; {meant} {', '.join(c.name for c in declared.values())}."
            )
        elif column.name in given:
            raise BadInput(f"{where} yields {column.name} twice; leave one out.")
        else:
            given[column.name] = conversion(where, column, name, kind)
    for column in declared.values():
        if column.required and column.name not in given:
            raise BadInput(
                f"{where} does not yield {column.name} ({column.meaning}), which {dataset.name} needs.{_undated(dataset, column)}"
            )
    return [given[c.name] for c in declared.values() if c.name in given], origin


def _typed(dataset: Dataset, conversions: list[Conversion], origin: dict[str, str]) -> str:
    inner = [f"{c.value} AS v{i}, {c.cell} AS c{i}, {c.reason} AS r{i}" for i, c in enumerate(conversions)]
    places = [f"{origin.get(name, 'NULL')}::VARCHAR AS _{name}" for name in ORIGIN]
    wrong = []
    for i, c in enumerate(conversions):
        missing = (
            ""
            if dataset.may_be_null(c.column)
            else f"WHEN c{i} IS NULL THEN {_problem(c.column, literal(EMPTY), literal(''))} "
        )
        wrong.append(
            f"CASE {missing}WHEN c{i} IS NOT NULL AND v{i} IS NULL THEN {_problem(c.column, f'r{i}', f'c{i}')} END"
        )
    values = [f"v{i} AS {quoted(c.column.name)}" for i, c in enumerate(conversions)]
    return (
        f"SELECT {', '.join(values)}, _file, _line, coalesce({', '.join(wrong)}) AS _problem, row_number() OVER () AS _row "
        f"FROM (SELECT {', '.join([*inner, *places])} FROM {quoted(dataset.name)})"
    )


def _problem(column: Column, reason: str, cell: str) -> str:
    return f"{{'reason': {literal(f'{column.name} ')} || {reason}, 'cell': {cell}[:{CELL_CHARACTERS + 1}]}}"


def _scan(path: Path) -> str:
    return f"read_parquet({literal(path)}, hive_partitioning = false)"


def _undated(dataset: Dataset, column: Column) -> str:
    """What to do where nobody knows a time; empty for another column."""
    if column.name not in dataset.times:
        return ""
    if dataset.may_be_null(column):
        return f" Where nobody knows when, write NULL AS {column.name} and say with --as-of when the data count as received."
    return " Only stories and events may have no dates; where nobody knows when, a time that is not too early will do, such as that of the export."


def _lacks_dates(
    db: duckdb.DuckDBPyConnection, dataset: Dataset, path: Path, rows: int, as_of: datetime | None
) -> bool:
    """Whether the rows are undated: no row has a date, and none was given that is no date. BadInput where they must not be."""
    time = next(iter(dataset.times), None)
    if time is None or not rows:
        return False
    refused = f"coalesce(starts_with(_problem.reason, {literal(f'{time} ')}) AND _problem.cell <> '', false)"
    [(given,)] = db.execute(f"SELECT count(*) FILTER ({time} IS NOT NULL OR {refused}) FROM {_scan(path)}").fetchall()
    if given:
        return False
    empty = f"{time} is empty in all {rows:,} rows of {dataset.name}."
    if not dataset.may_be_undated:
        raise BadInput(empty + _undated(dataset, dataset.column(time)))
    if as_of is None:
        raise BadInput(
            f"{empty} Data without dates count as received at the moment that --as-of names, such as --as-of 2026-01-31; from then "
            "on they are known. (Made-up dates make the ranking worse.)"
        )
    return True


def sentence(dataset: Dataset, reason: str) -> str:
    """A reason in words, and what can be done where that is not plain."""
    if reason == CONFLICTING:
        return f"rows of one {' and '.join(dataset.grain)} contradict each other; keep one of them"
    if reason == UNKNOWN_STORY:
        return "story_id names no story of the view stories; leave these events out, or make stories of events"
    if reason == IN_THE_FUTURE:
        return "lies in the future"
    kind, _, column = reason.partition("_")
    if kind == "missing" and column in dataset.times[:1]:
        return f"{column} {EMPTY} where other rows have one; either every row has a date, or none has"
    if kind == "unknown" and column in dataset.names:
        return f"{column} is none of {dataset.column(column).meaning.removeprefix('one of ')}; translate it with CASE"
    return reason
