"""Checks the rows of a raw dataset in DuckDB, with the same verdicts as the batch: for the files of a lake, and for what an import would write."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
from rich.table import Table

from features.duckdb_sql import literal
from features.raw_datasets import CLOCK_SKEW_S
from features.schema import NO_DATES, Dataset
from features.times import EPOCH
from features.verdicts import CONFLICTING, IN_THE_FUTURE, REPEATED, UNKNOWN_STORY, content_columns, too_many

EXAMPLES = 3
CELL_CHARACTERS, EXAMPLE_CHARACTERS = 60, 200
"""Of a cell, and of all of them, that are shown of a row; a title alone may have a million."""
UNIT_SHARE = 0.5
"""Of a column's times beyond what can be: with more, the unit is wrong and not the row."""
_UNITS = {
    "January 1970, as seconds do when they are read as milliseconds": "BETWEEN TIMESTAMP '1970-01-01 00:00:01' AND TIMESTAMP '1970-02-01'",
    "the year 2200 or later, as milliseconds do when they are read as seconds": ">= TIMESTAMP '2200-01-01'",
}


@dataclass(frozen=True, slots=True)
class Refused:
    """Rows refused for one reason."""

    rows: int
    examples: tuple[str, ...]
    """The first few: where they stand, and the cells that the reason is about."""


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """What is in one dataset."""

    dataset: Dataset
    files: int | None
    """Null: the rows are those of a view."""
    rows: int
    users: int | None
    """Different users in rows that are not refused; null: the dataset has none."""
    first: datetime | None
    last: datetime | None
    """When what is not refused happened; null: nothing did, or the dataset does not say when."""
    undated: bool
    """Whether the dataset counts as undated (features/undated.py); what was archived since has dates all the same."""
    refused: Mapping[str, Refused]
    """By reason, most rows first. Repeated rows are dropped, which is no harm, but are counted here, too."""
    hints: tuple[str, ...]
    """A sentence about the first column whose times cannot be, with the probable unit; those that are filled from it are no other matter."""

    def problems(self) -> list[str]:
        """What a batch would stop at, a sentence each."""
        found = too_many(self.dataset, self.rows, {reason: refused.rows for reason, refused in self.refused.items()})
        if found is None:
            return [*self.hints]
        bad, limit = found
        return [
            *self.hints,
            f"Dataset {self.dataset.name}: {bad:,} of {self.rows:,} rows are refused, more than {limit:.0%}; correct them.",
        ]

    def lines(self, words: Callable[[Dataset, str], str] = lambda _, reason: reason) -> list[str]:
        """Each reason (as `words` puts it) with its count and examples."""
        found = []
        for reason, refused in self.refused.items():
            found.append(f"{self.dataset.name}: {refused.rows:,} of {self.rows:,} rows: {words(self.dataset, reason)}")
            found += [f"  {example}" for example in refused.examples]
        return found


def report_table(reports: Iterable[DatasetReport]) -> Table:
    """For a terminal of 80 columns: a line per dataset; days in UTC."""
    shown = Table("dataset", "files", "rows", "users", "from", "to", "refused", box=None)
    for one in reports:
        counts = ["" if count is None else f"{count:,}" for count in (one.files, one.rows, one.users)]
        span = ["" if moment is None else f"{moment:%Y-%m-%d}" for moment in (one.first, one.last)]
        span = ["undated", span[1]] if one.undated else span
        shown.add_row(one.dataset.name, *counts, *span, f"{sum(each.rows for each in one.refused.values()):,}")
    return shown


def check_rows(
    db: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    rows: str,
    now: datetime,
    *,
    stories: str | None = None,
    files: int | None = None,
    undated: bool = False,
) -> DatasetReport:
    """Checks `rows`, a SELECT of the declared columns and of what is known of each row beside them:
    `_file`, `_line` and `_row` (where it stands; each may be null) and `_problem` ({reason, cell}; null: every cell is of its type).

    `stories`: SELECT of the ids that events may be about; None: of any. `undated`: see features/undated.py. Leaves a view `rex_<dataset>` of the rows with `reason`,
    null for good ones, and with their times filled. `db` knows the functions of `lake.dialect`.
    """
    _check_each(db, dataset, f"SELECT *, {undated} AS {NO_DATES} FROM ({rows})", now)
    _check_together(db, dataset, stories)
    time = next(iter(dataset.times), None)
    units = [f"count(*) FILTER ({time} {where})" for time in dataset.times for where in _UNITS.values()]
    row = f"{{'file': _file, 'line': _line, 'row': _row, 'cell': {_cells(dataset)}}}"
    found = db.execute(f"""
        SELECT reason, count(*), {"count(DISTINCT user_id) FILTER (reason IS NULL)" if "user_id" in dataset.names else "NULL"},
            {f"epoch_us(min({time})), epoch_us(max({time}))" if time else "NULL, NULL"},
            arg_min({row}, {{'file': _file, 'row': _row}}, {EXAMPLES}) FILTER (reason IS NOT NULL),
            [{", ".join(f"count({time})" for time in dataset.times)}]::BIGINT[], [{", ".join(units)}]::BIGINT[]
        FROM rex_{dataset.name} GROUP BY reason ORDER BY 2 DESC, 1""").fetchall()
    users, first, last = next(
        (of_good for reason, _, *of_good, _, _, _ in found if reason is None),
        (0 if "user_id" in dataset.names else None, None, None),
    )
    refused = {
        reason: Refused(count, tuple(_example(one, files is None) for one in examples))
        for reason, count, _, _, _, examples, _, _ in found
        if reason is not None
    }
    dated, beyond = ([sum(counts) for counts in zip(*(one[at] for one in found), strict=True)] for at in (6, 7))
    total = sum(count for _, count, *_ in found)
    return DatasetReport(
        dataset,
        files,
        total,
        users,
        _moment(first),
        _moment(last),
        undated,
        refused,
        tuple(_hints(dataset, dated, beyond))[:1],
    )


def _check_each(db: duckdb.DuckDBPyConnection, dataset: Dataset, rows: str, now: datetime) -> None:
    """A view `rex_<dataset>_rows` with the first thing wrong with each row by itself, and a hash of what makes rows the same."""
    filled = [f"coalesce({', '.join(times)}) AS {time}" for time, times in dataset.filled_times().items()]
    replaced = f"REPLACE ({', '.join(filled)})" if filled else ""
    horizon = literal(now.astimezone(UTC) + timedelta(seconds=CLOCK_SKEW_S))
    late = " OR ".join(f"coalesce({time} > {horizon}::TIMESTAMPTZ, false)" for time in dataset.past_times) or "false"
    failed = [f"WHEN NOT coalesce({check.sql}, false) THEN {literal(check.name)}" for check in dataset.checks]
    reason = (
        f"CASE WHEN _problem IS NOT NULL THEN _problem.reason WHEN {late} THEN '{IN_THE_FUTURE}' {' '.join(failed)} END"
    )
    key = f"hash({', '.join(dataset.grain)})"
    key = f"CASE WHEN event_id IS NOT NULL THEN {key} END" if "event_id" in dataset.grain else key
    db.execute(
        f"CREATE OR REPLACE TEMP VIEW rex_{dataset.name}_rows AS "
        f"SELECT *, {reason} AS reason, {key} AS _key FROM (SELECT * {replaced} FROM ({rows}))"
    )


def _check_together(db: duckdb.DuckDBPyConnection, dataset: Dataset, stories: str | None) -> None:
    """What only all rows together show: repeats and conflicts, events about unknown stories."""
    rows, twice, grain = f"rex_{dataset.name}_rows", f"rex_{dataset.name}_twice", ", ".join(dataset.grain)
    db.execute(
        f"CREATE OR REPLACE TEMP TABLE {twice} AS SELECT _key FROM {rows} WHERE reason IS NULL AND _key IS NOT NULL "
        "GROUP BY 1 HAVING count(*) > 1"
    )
    once = f"SELECT * FROM {rows} WHERE reason IS NOT NULL OR _key IS NULL OR _key NOT IN (FROM {twice})"
    again = f"""
        SELECT * EXCLUDE (_content) REPLACE (CASE
            WHEN row_number() OVER (PARTITION BY {grain}, _content ORDER BY _file, _row) > 1 THEN '{REPEATED}'
            WHEN min(_content) OVER (PARTITION BY {grain}) <> max(_content) OVER (PARTITION BY {grain}) THEN '{CONFLICTING}'
        END AS reason)
        FROM (SELECT *, hash({", ".join(content_columns(dataset))}) AS _content FROM {rows}
              WHERE reason IS NULL AND _key IN (FROM {twice}))
    """
    some = db.execute(f"SELECT count(*) FROM {twice}").fetchall()[0][0]
    checked = f"{once} UNION ALL {again}" if some else once
    if dataset.name == "events" and stories is not None:
        unknown = f"CASE WHEN story_id NOT IN ({stories}) THEN '{UNKNOWN_STORY}' END"
        checked = f"SELECT * REPLACE (coalesce(reason, {unknown}) AS reason) FROM ({checked})"
    db.execute(f"CREATE OR REPLACE TEMP VIEW rex_{dataset.name} AS {checked}")


def _cells(dataset: Dataset) -> str:
    """Expression: what a refused row says in its grain and in the columns that its reason is about."""
    about = {check.name: check.sql for check in dataset.checks} | {UNKNOWN_STORY: "story_id"}
    cases = []
    for reason, sql in about.items():
        shown = [name for name in dataset.names if name in dataset.grain or re.search(rf"\b{name}\b", sql)]
        cases.append(f"WHEN {literal(reason)} THEN {_shown(shown)}")
    return f"CASE WHEN reason IS NULL THEN NULL WHEN _problem IS NOT NULL THEN _problem.cell ELSE CASE reason {' '.join(cases)} ELSE {_shown(dataset.names)} END END"


def _shown(names: Iterable[str]) -> str:
    cells = (f"'{name}=' || left({name}::VARCHAR, {CELL_CHARACTERS})" for name in names)
    return f"concat_ws(', ', {', '.join(cells)})"


def _example(row: Mapping[str, Any], is_of_view: bool) -> str:
    """Where a row stands, and its cells."""
    if row["line"] is not None:
        number = f"line {row['line']}"
    elif row["row"] is not None:
        number = f"row {row['row']}{' of the view' if is_of_view else ''}"
    else:
        number = ""
    cell = (row["cell"] or "").translate({2: None, 3: None})
    cell = cell if len(cell) <= EXAMPLE_CHARACTERS else f"{cell[:EXAMPLE_CHARACTERS]}…"
    return ", ".join(filter(None, (row["file"], number))) + (f": `{cell}`" if cell else "")


def _moment(us: int | None) -> datetime | None:
    return None if us is None else EPOCH + timedelta(microseconds=us)


def _hints(dataset: Dataset, dated: list[int], beyond: list[int]) -> Iterable[str]:
    """One for each column most of whose times lie where a wrong unit puts them."""
    counts = iter(beyond)
    for time, rows in zip(dataset.times, dated, strict=False):
        for where in _UNITS:
            if (n := next(counts)) > UNIT_SHARE * rows:
                yield f"Dataset {dataset.name}: {n:,} of {rows:,} values of {time} fall in {where}; write them in the right unit."
