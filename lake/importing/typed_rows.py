"""What a view yields as typed rows of a raw dataset: every row is counted, and every row that cannot be one says why, with its cell and its line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import NoReturn

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from features.duckdb_views import SQL_TYPES, quoted
from features.errors import BadInput
from features.raw_datasets import CLOCK_SKEW_S
from features.schema import TS, Column, Dataset
from features.verdicts import CONFLICTING, IN_THE_FUTURE, TIMES, UNKNOWN_STORY, content_columns
from lake.importing.conversions import Conversion, conversion
from lake.importing.prepared import ORIGIN
from lake.importing.script import OWN_READERS
from lake.sql_text import literal
from lake.writer import ROWS_PER_GROUP
from local.faults import first_line

EXAMPLES = 3
_SHOWN = 60
"""Characters of a cell in a message."""
_WRONG_UNIT = "BETWEEN TIMESTAMPTZ '1970-01-01 00:00:00+00' AND TIMESTAMPTZ '1971-01-01 00:00:00+00'"
"""Where the latest time of a column lies whose seconds were taken for milliseconds, or milliseconds for microseconds."""
_SANE = "BETWEEN TIMESTAMPTZ '0001-01-02 00:00:00+00' AND TIMESTAMPTZ '9999-12-30 00:00:00+00'"
"""What Python has dates for."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Rows that are refused for one reason."""

    reason: str
    rows: int
    examples: tuple[str, ...]
    """The first few: where they stand, and the cell."""


@dataclass(frozen=True, slots=True)
class TypedRows:
    """The rows of one dataset, as they would be written."""

    dataset: Dataset
    path: Path
    columns: tuple[str, ...]
    """Declared columns that the view yields, in declared order."""
    rows: int
    users: int | None
    first: datetime | None
    last: datetime | None
    refused: tuple[Refused, ...]

    @property
    def query(self) -> str:
        """SELECT of the rows, without what is only known of them; `ORDER BY _row` puts them into the view's order."""
        return f"SELECT {', '.join(map(quoted, self.columns))} FROM {_scan(self.path)}"


def typed_rows(
    db: duckdb.DuckDBPyConnection, dataset: Dataset, to: Path, now: datetime, stories: Path | None = None
) -> TypedRows:
    """Runs the view called like `dataset`, once, and keeps its rows at `to` as Parquet. `stories`: those that events may be about.

    BadInput for a column that the dataset does not have, a mandatory one that is missing, a type that no cell of it can be
    converted from, rows without dates, and a view that yields other rows each time.
    """
    conversions, origin = _plan(db, dataset)
    try:
        _store(db, _typed(dataset, conversions, origin), to)
        [(yielded,)] = db.execute(f"SELECT count(*) FROM {quoted(dataset.name)}").fetchall()
    except duckdb.Error as error:
        failed(error, f"the view {dataset.name}")
    [(rows,)] = db.execute(f"SELECT count(*) FROM {_scan(to)}").fetchall()
    if rows != yielded:
        raise BadInput(
            f"The view {dataset.name} yields {rows:,} rows, and {yielded:,} when asked again; make it say the same each time."
        )
    time = next((c.column.name for c in conversions if c.column.type == TS and c.column.required), None)
    users = "count(DISTINCT user_id)" if any(c.column.name == "user_id" for c in conversions) else "NULL"
    sane = f"FILTER ({time} {_SANE})"
    span = f"min({time}) {sane}, max({time}) {sane}" if time else "NULL, NULL"
    [(people, first, last)] = db.execute(f"SELECT {users}, {span} FROM {_scan(to)}").fetchall()
    _refuse_undated(db, dataset, conversions, to, rows)
    if time:
        _refuse_wrong_unit(db, dataset, time, to)
    refused = _refused(db, dataset, conversions, to, stories, now)
    return TypedRows(dataset, to, tuple(c.column.name for c in conversions), rows, people, first, last, refused)


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


def failed(error: duckdb.Error, during: str) -> NoReturn:
    """BadInput with what DuckDB says of a statement, and what to do where it is about files; a full disk or memory is not the
    SQL's fault, and is raised as it is."""
    if isinstance(error, (duckdb.OutOfMemoryException, duckdb.IOException)):
        raise error
    said = " ".join(
        [first_line(error), *re.findall(r"^(?:Candidate bindings|Did you mean)[^\n]*", str(error), re.MULTILINE)]
    )
    if "disabled by configuration" in said or "Permission Error" in said:
        raise BadInput(f"{said} ({during}); files are read by {OWN_READERS} alone.") from error
    raise BadInput(f"{during[0].upper()}{during[1:]} cannot be run: {said}") from error


def _plan(db: duckdb.DuckDBPyConnection, dataset: Dataset) -> tuple[list[Conversion], dict[str, str]]:
    """Conversions in declared order, and where the view passes on `file` and `line`."""
    where = f"The view {dataset.name}"
    try:
        described = db.execute(f"DESCRIBE SELECT * FROM {quoted(dataset.name)}").fetchall()
    except duckdb.Error as error:
        failed(error, f"the view {dataset.name}")
    declared = {c.name.casefold(): c for c in dataset.columns if c.name not in dataset.partition_by}
    given: dict[str, Conversion] = {}
    origin: dict[str, str] = {}
    for name, kind, *_ in described:
        column = declared.get(name.casefold())
        if column is None and name.casefold() in ORIGIN:
            origin[name.casefold()] = quoted(name)
        elif column is None:
            raise BadInput(
                f"{where} yields {name}, which {dataset.name} does not have; it has {', '.join(c.name for c in declared.values())}."
            )
        elif column.name in given:
            raise BadInput(f"{where} yields {column.name} twice; leave one out.")
        else:
            given[column.name] = conversion(where, column, name, kind)
    for column in declared.values():
        if column.required and column.name not in given:
            raise BadInput(
                f"{where} does not yield {column.name} ({column.meaning}), which {dataset.name} needs.{_undated(column)}"
            )
    return [given[c.name] for c in declared.values() if c.name in given], origin


def _typed(dataset: Dataset, conversions: list[Conversion], origin: dict[str, str]) -> str:
    inner = [f"{c.value} AS v{i}, {c.cell} AS c{i}, {c.reason} AS r{i}" for i, c in enumerate(conversions)]
    places = [f"{origin.get(name, 'NULL')}::VARCHAR AS _{name}" for name in ORIGIN]
    wrong = []
    for i, c in enumerate(conversions):
        missing = (
            f"WHEN c{i} IS NULL THEN {_problem(c.column, literal('is empty, but mandatory'), literal(''))} "
            if c.column.required
            else ""
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
    return f"{{'name': {literal(column.name)}, 'reason': {reason}, 'cell': {cell}[:{_SHOWN + 1}]}}"


def _scan(path: Path) -> str:
    return f"read_parquet({literal(path)}, hive_partitioning = false)"


def _undated(column: Column) -> str:
    if column.type != TS:
        return ""
    return " Rex ranks by when things happened; data without dates cannot be imported yet, and made-up dates make the ranking worse."


def _refuse_undated(
    db: duckdb.DuckDBPyConnection, dataset: Dataset, conversions: list[Conversion], path: Path, rows: int
) -> None:
    for c in conversions:
        if rows and c.column.required and c.column.type == TS:
            empty = f"_problem.name = {literal(c.column.name)} AND _problem.cell = ''"
            [(undated,)] = db.execute(f"SELECT count(*) FROM {_scan(path)} WHERE {empty}").fetchall()
            if undated == rows:
                raise BadInput(f"{c.column.name} is empty in all {rows:,} rows of {dataset.name}.{_undated(c.column)}")


def _refuse_wrong_unit(db: duckdb.DuckDBPyConnection, dataset: Dataset, time: str, path: Path) -> None:
    [(is_wrong, last)] = db.execute(
        f"SELECT max({time}) {_WRONG_UNIT}, max({time})::VARCHAR FROM {_scan(path)}"
    ).fetchall()
    if is_wrong:
        raise BadInput(
            f"No {time} of {dataset.name} is later than {last}: these look like seconds that were taken for milliseconds, or "
            "milliseconds for microseconds. Write the file again, or convert the number with unix_s(x)."
        )


def _refused(
    db: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    conversions: list[Conversion],
    path: Path,
    stories: Path | None,
    now: datetime,
) -> tuple[Refused, ...]:
    """By reason, the most frequent first."""
    names = {c.column.name for c in conversions}
    rules = _rules(dataset, stories, now)
    is_keyed = "event_id" not in dataset.grain or "event_id" in names
    if is_keyed:
        rules[CONFLICTING] = "_key NOT IN (SELECT _key FROM keyed GROUP BY 1 HAVING count(DISTINCT _content) > 1)"
    failing = "CASE WHEN _problem IS NOT NULL THEN _problem " + " ".join(
        f"WHEN NOT coalesce({sql}, false) THEN {{'name': '', 'reason': {literal(_sentence(dataset, reason))}, "
        f"'cell': {_shown_columns(' '.join(dataset.grain) if reason == CONFLICTING else sql, names)}[:{2 * _SHOWN}]}}"
        for reason, sql in rules.items()
    )
    given = [quoted(c.column.name) for c in conversions]
    absent = [f"NULL::{SQL_TYPES[c.type]} AS {quoted(c.name)}" for c in dataset.columns if c.name not in names]
    rows = f"SELECT {', '.join([*given, *absent, '_file', '_line', '_problem', '_row'])} FROM {_scan(path)}"
    keyed = f"SELECT *, {_hash(dataset, dataset.grain)} AS _key, {_hash(dataset, content_columns(dataset))} AS _content FROM ({rows})"
    found = db.execute(
        f"WITH keyed AS ({keyed}) SELECT p.name, p.reason, count(*) AS n, arg_min({{'file': _file, 'line': _line, 'cell': p.cell, 'row': _row}}, _row, {EXAMPLES}) "
        f"FROM (SELECT {failing} END AS p, _file, _line, _row FROM keyed) WHERE p IS NOT NULL GROUP BY 1, 2 ORDER BY n DESC, 1, 2"
    ).fetchall()
    return tuple(
        Refused(f"{name} {reason}".strip(), n, tuple(map(_example, examples))) for name, reason, n, examples in found
    )


def _hash(dataset: Dataset, columns: Sequence[str]) -> str:
    """Of what a row says in these columns; times that are absent are the ones before them, as everywhere."""
    times = TIMES[dataset.name]
    filled = {time: f"coalesce({', '.join(reversed(times[: number + 1]))})" for number, time in enumerate(times)}
    return f"hash({', '.join(filled.get(name, quoted(name)) for name in columns)})"


def _sentence(dataset: Dataset, reason: str) -> str:
    """A reason in words, and what can be done where that is not plain."""
    if reason == CONFLICTING:
        return f"rows of one {' and '.join(dataset.grain)} say different things; keep one of them"
    if reason == UNKNOWN_STORY:
        return "story_id names no story of the view stories; leave these events out, or make stories of events"
    if reason == IN_THE_FUTURE:
        return "lies in the future"
    kind, _, column = reason.partition("_")
    if kind == "unknown" and column in dataset.names:
        return f"{column} is none of {dataset.column(column).meaning.removeprefix('one of ')}; translate it with CASE"
    return reason


def _example(example: dict[str, object]) -> str:
    cell = str(example["cell"] or "").replace("\x02", "").replace("\x03", "")
    cell = cell if len(cell) <= _SHOWN * 2 else f"{cell[: _SHOWN * 2]}…"
    place = (
        f"{example['file']}, line {example['line']}"
        if example["line"] is not None
        else f"row {example['row']} of the view"
    )
    return f"{place}: `{cell}`" if cell else place


def _rules(dataset: Dataset, stories: Path | None, now: datetime) -> dict[str, str]:
    """Reason → what holds of every good row: the dataset's own checks, nothing that will happen, no unknown story."""
    late = literal(now + timedelta(seconds=CLOCK_SKEW_S))
    known = (f"({time} IS NULL OR {time} <= {late}::TIMESTAMPTZ)" for time in TIMES[dataset.name])
    rules = {IN_THE_FUTURE: " AND ".join(known) or "true"}  # first, as in the batch
    rules |= {check.name: check.sql for check in dataset.checks}
    if dataset.name == "events" and stories is not None:
        rules[UNKNOWN_STORY] = f"story_id IN (SELECT story_id FROM {_scan(stories)})"
    return rules


def _shown_columns(sql: str, names: set[str]) -> str:
    """The cells that a check is about."""
    shown = [name for name in sorted(names) if re.search(rf"\b{name}\b", sql)]
    return "concat_ws(', ', " + ", ".join(f"'{name}=' || {name}::VARCHAR" for name in shown) + ")" if shown else "''"
