"""What is in a raw lake and what a batch would refuse of it, found by DuckDB in seconds: the same verdicts as the batch's."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
from rich.progress import Progress
from rich.table import Table

from features.duckdb_views import FILE, misfit, quoted, raw_scan
from features.errors import BadInput
from features.lake_files import Group, inspect, raw_layer, unchanged
from features.raw_datasets import CLOCK_SKEW_S, RAW
from features.schema import Dataset
from features.verdicts import CONFLICTING, IN_THE_FUTURE, REPEATED, TIMES, UNKNOWN_STORY, content_columns, too_many
from lake.dialect import teach

EXAMPLE_CHARACTERS = 200
"""Of a row that is shown; a title alone may have a million."""
ROW = "file_row_number"
"""DuckDB's name of a row's number in its file, from 0; a file may have a column of that name, and anything in it."""
UNIT_SHARE = 0.5
"""Of a column's times beyond what can be: with more, the unit is wrong and not the row."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Rows refused for one reason."""

    rows: int
    example: str
    """File, number of the row (from 1) and content of the first."""


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """What is in one dataset."""

    dataset: Dataset
    files: int
    rows: int
    users: int | None
    """Different users in rows that are not refused; null: the dataset has none."""
    first: datetime | None
    last: datetime | None
    """When what is not refused happened; null: nothing did, or the dataset does not say when."""
    refused: Mapping[str, Refused]
    """By reason, most rows first. Repeated rows are dropped, which is no harm, but are counted here, too."""
    hints: tuple[str, ...]
    """Sentences about columns whose times cannot be, with the probable unit."""

    def problems(self) -> list[str]:
        """What a batch would stop at, a sentence each."""
        counts = {reason: refused.rows for reason, refused in self.refused.items()}
        found = too_many(self.dataset, self.rows, counts)
        if found is None:
            return [*self.hints]
        bad, limit = found
        return [
            *self.hints,
            f"Dataset {self.dataset.name}: {bad:,} of {self.rows:,} rows are refused, more than {limit:.0%}; correct them.",
        ]


@dataclass(frozen=True, slots=True)
class LakeReport:
    """What is in a raw lake."""

    datasets: dict[str, DatasetReport]
    """Of those that have files."""
    missing: tuple[str, ...]
    """Datasets that a batch needs and that have no rows."""
    unknown: tuple[str, ...] = ()
    """Folders of the raw layer that are no dataset: a misspelt name loses all that is in it."""

    @property
    def hints(self) -> list[str]:
        """Of all datasets."""
        return [hint for report in self.datasets.values() for hint in report.hints]

    def problems(self) -> list[str]:
        """What a batch would stop at, a sentence each."""
        missing = [f"Dataset {name} has no rows; write it as Parquet into raw/{name}/." for name in self.missing]
        return missing + [problem for report in self.datasets.values() for problem in report.problems()]

    def table(self) -> Table:
        """For a terminal of 80 columns: a line per dataset; days in UTC."""
        shown = Table("dataset", "files", "rows", "users", "from", "to", "refused", box=None)
        for name, one in self.datasets.items():
            users = "" if one.users is None else f"{one.users:,}"
            span = ["" if moment is None else f"{moment:%Y-%m-%d}" for moment in (one.first, one.last)]
            refused = sum(each.rows for each in one.refused.values())
            shown.add_row(name, f"{one.files:,}", f"{one.rows:,}", users, *span, f"{refused:,}")
        return shown

    def lines(self) -> list[str]:
        """What the table has no room for: each reason with its count and an example, folders that are no dataset."""
        found = [
            f"raw/{name} is no dataset and is not read; there are {', '.join(d.name for d in RAW)}."
            for name in self.unknown
        ]
        for name, one in self.datasets.items():
            for reason, refused in one.refused.items():
                found.append(f"{name}: {refused.rows:,} of {one.rows:,} rows: {reason}")
                found.append(f"  {refused.example}")
        return found


def check_lake(lake: Path, now: datetime, progress: Progress | None = None) -> LakeReport:
    """Looks at every row of the raw layer. BadInput for a missing lake, and for files that cannot be read as declared."""
    bar = None if progress is None else progress.add_task("check", total=len(RAW))
    folders = {dataset.name: raw_layer(lake) / dataset.name for dataset in RAW}
    groups = {dataset.name: inspect(dataset, folders[dataset.name]) for dataset in RAW}
    files = [path for found in groups.values() for group in found for path in group.files]
    with unchanged(files), duckdb.connect() as db, tempfile.TemporaryDirectory(prefix="rex-check-") as spill:
        db.execute("SET TimeZone = 'UTC'")
        db.execute(f"SET temp_directory = {quoted(spill, chr(39))}")
        teach(db)
        try:
            reports = {}
            for dataset in RAW:
                if groups[dataset.name]:
                    reports[dataset.name] = _report(db, dataset, groups[dataset.name], folders[dataset.name], now)
                if progress is not None and bar is not None:
                    progress.advance(bar)
        except duckdb.Error as error:
            raise BadInput(f"The raw data in {lake} cannot be read: {str(error).splitlines()[0]}") from error
    missing = (d.name for d in RAW if not d.optional and not sum(group.rows for group in groups[d.name]))
    known = {dataset.name for dataset in RAW}
    others = (path.name for path in raw_layer(lake).iterdir() if path.is_dir() and not path.name.startswith(("_", ".")))
    return LakeReport(reports, tuple(missing), tuple(sorted(set(others) - known)))


def _report(
    db: duckdb.DuckDBPyConnection, dataset: Dataset, groups: list[Group], folder: Path, now: datetime
) -> DatasetReport:
    _judge(db, dataset, groups, now)
    time = next(iter(TIMES[dataset.name]), None)
    span = f"epoch_us(min({time})), epoch_us(max({time}))" if time else "NULL, NULL"
    users = "count(DISTINCT user_id)" if "user_id" in dataset.names else "NULL"
    found = db.sql(f"SELECT reason, count(*), {users}, {span} FROM {dataset.name} GROUP BY reason").fetchall()
    counts = {reason: rows for reason, rows, *_ in found if reason}
    good = next(((users, first, last) for reason, _, users, first, last in found if not reason), (0, None, None))
    refused = {
        reason: Refused(rows, _example(db, dataset, folder, reason))
        for reason, rows in sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    }
    return DatasetReport(
        dataset,
        sum(len(group.files) for group in groups),
        sum(rows for _, rows, *_ in found),
        good[0] if "user_id" in dataset.names else None,
        _moment(good[1]),
        _moment(good[2]),
        refused,
        tuple(_hints(db, dataset)),
    )


def _moment(us: int | None) -> datetime | None:
    return None if us is None else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)


def _judge(db: duckdb.DuckDBPyConnection, dataset: Dataset, groups: list[Group], now: datetime) -> None:
    """A view named like the dataset: its rows with their times filled, FILE, and `reason`, null for good ones."""
    scans = []
    for group in groups:
        misfits = [misfit(c, s) for c, s in zip(dataset.columns, group.stored, strict=True)]
        scans.append(
            raw_scan(
                dataset,
                group,
                (
                    FILE,
                    f"TRY_CAST({ROW}::VARCHAR AS BIGINT) + 1 AS {ROW}",
                    f"coalesce({', '.join(misfits)}) AS _misfit",
                ),
            )
        )
    filled, times = {}, TIMES[dataset.name]
    for number, time in enumerate(times):
        filled[time] = f"coalesce({', '.join(reversed(times[: number + 1]))})"
    replaced = f"REPLACE ({', '.join(f'{sql} AS {name}' for name, sql in filled.items())})" if filled else ""
    db.execute(f"CREATE VIEW _{dataset.name} AS SELECT * {replaced} FROM ({' UNION ALL '.join(scans)})")
    horizon = f"TIMESTAMP '{now.astimezone(UTC) + timedelta(seconds=CLOCK_SKEW_S):%Y-%m-%d %H:%M:%S.%f}'"
    late = " OR ".join(f"coalesce({time} > {horizon}, false)" for time in times) or "false"
    failed = [f"WHEN NOT coalesce({check.sql}, false) THEN '{check.name}'" for check in dataset.checks]
    reason = f"CASE WHEN _misfit IS NOT NULL THEN _misfit WHEN {late} THEN '{IN_THE_FUTURE}' {' '.join(failed)} END"
    key = f"hash({', '.join(dataset.grain)})"
    key = f"CASE WHEN event_id IS NOT NULL THEN {key} END" if "event_id" in dataset.grain else key
    db.execute(f"CREATE VIEW _{dataset.name}_rows AS SELECT *, {reason} AS reason, {key} AS _key FROM _{dataset.name}")
    _judge_together(db, dataset)


def _judge_together(db: duckdb.DuckDBPyConnection, dataset: Dataset) -> None:
    """What only all rows together show: repeats and conflicts, events about unknown stories."""
    rows, twice = f"_{dataset.name}_rows", f"_{dataset.name}_twice"
    db.execute(
        f"CREATE TEMP TABLE {twice} AS SELECT _key FROM {rows} WHERE reason IS NULL AND _key IS NOT NULL GROUP BY 1 HAVING count(*) > 1"
    )
    once = f"SELECT * FROM {rows} WHERE reason IS NOT NULL OR _key IS NULL OR _key NOT IN (FROM {twice})"
    grain = ", ".join(dataset.grain)
    again = f"""
        SELECT * EXCLUDE (_content) REPLACE (CASE
            WHEN row_number() OVER (PARTITION BY {grain}, _content) > 1 THEN '{REPEATED}'
            WHEN min(_content) OVER (PARTITION BY {grain}) <> max(_content) OVER (PARTITION BY {grain}) THEN '{CONFLICTING}'
        END AS reason)
        FROM (SELECT *, hash({", ".join(content_columns(dataset))}) AS _content FROM {rows}
              WHERE reason IS NULL AND _key IN (FROM {twice}))
    """
    some = db.sql(f"SELECT count(*) FROM {twice}").fetchall()[0][0]
    judged = f"{once} UNION ALL {again}" if some else once
    if dataset.name == "events" and db.sql("SELECT 1 FROM duckdb_views() WHERE view_name = 'stories'"):
        known = "SELECT story_id FROM stories WHERE reason IS NULL"
        unknown = f"CASE WHEN story_id NOT IN ({known}) THEN '{UNKNOWN_STORY}' END"
        judged = f"SELECT * REPLACE (coalesce(reason, {unknown}) AS reason) FROM ({judged})"
    db.execute(f"CREATE VIEW {dataset.name} AS {judged}")


def _example(db: duckdb.DuckDBPyConnection, dataset: Dataset, folder: Path, reason: str) -> str:
    """File and number (from 1) of the first row refused for `reason`, and what it holds, without nulls."""
    columns = ", ".join(f"CAST({name} AS VARCHAR)" for name in dataset.names)
    query = f"SELECT {FILE}, {ROW}, {columns} FROM {dataset.name} WHERE reason = ? ORDER BY 1, 2 LIMIT 1"
    file, number, *values = db.execute(query, [reason]).fetchall()[0]
    pairs = zip(dataset.names, values, strict=True)
    row = ", ".join(f"{name}={value}" for name, value in pairs if value is not None)
    place = "" if number is None else f" row {number}"
    return f"{Path(file).relative_to(folder)}{place}: {row}"[:EXAMPLE_CHARACTERS]


def _hints(db: duckdb.DuckDBPyConnection, dataset: Dataset) -> list[str]:
    """One for each column most of whose times lie where a wrong unit puts them."""
    units = {
        "January 1970, where seconds come to lie that are taken for milliseconds": "BETWEEN TIMESTAMP '1970-01-01 00:00:01' AND TIMESTAMP '1970-02-01'",
        "the year 2200 or later, where milliseconds come to lie that are taken for seconds": ">= TIMESTAMP '2200-01-01'",
    }
    hints = []
    for time in TIMES[dataset.name]:
        counted = ", ".join(f"count(*) FILTER ({time} {where})" for where in units.values())
        rows, *found = db.sql(f"SELECT count({time}), {counted} FROM _{dataset.name}").fetchall()[0]
        hints += [
            f"Dataset {dataset.name}: {n:,} of {rows:,} values of {time} lie in {where}; write them in the right unit."
            for where, n in zip(units, found, strict=True)
            if n > UNIT_SHARE * rows
        ]
    return hints
