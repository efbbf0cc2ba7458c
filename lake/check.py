"""What is in a raw lake and what a batch would refuse of it, found by DuckDB in seconds: the same verdicts as the batch's."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb
from rich.progress import Progress
from rich.table import Table

from features.duckdb_sql import quoted
from features.duckdb_views import misfit, raw_scan
from features.errors import BadInput
from features.lake_files import FILE, ROW, Group, inspect, raw_layer, unchanged
from features.raw_datasets import RAW
from features.schema import Dataset
from features.undated import is_undated
from lake.dialect import connected
from lake.progress import bar
from lake.row_checks import CELL_CHARACTERS, DatasetReport, check_rows, report_table
from rex.local.faults import first_line, refusal


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
        """For a terminal: a line per dataset."""
        return report_table(self.datasets.values())

    def lines(self) -> list[str]:
        """What the table has no room for: each reason with its count and examples, folders that are no dataset."""
        known = ", ".join(dataset.name for dataset in RAW)
        found = [f"raw/{name} is no dataset and is not read; there are {known}." for name in self.unknown]
        return found + [line for report in self.datasets.values() for line in report.lines()]


def check_lake(lake: Path, now: datetime, progress: Progress | None = None) -> LakeReport:
    """Looks at every row of the raw layer. BadInput for a missing lake, and for files that cannot be read as declared."""
    folders = {dataset.name: raw_layer(lake) / dataset.name for dataset in RAW}
    groups = {dataset.name: inspect(dataset, folders[dataset.name]) for dataset in RAW}
    files = [path for found in groups.values() for group in found for path in group.files]
    reports: dict[str, DatasetReport] = {}
    with unchanged(files), _beside(lake) as spill, connected(spill) as db, bar(progress, "check", len(RAW)) as advance:
        try:
            for dataset in RAW:
                if found := groups[dataset.name]:
                    rows = " UNION ALL ".join(_rows(dataset, group, folders[dataset.name]) for group in found)
                    stories = "SELECT story_id FROM rex_stories WHERE reason IS NULL" if "stories" in reports else None
                    count = sum(len(group.files) for group in found)
                    reports[dataset.name] = check_rows(
                        db, dataset, rows, now, stories=stories, files=count, undated=is_undated(dataset, found)
                    )
                advance()
        except duckdb.Error as error:
            raise refusal(error) or BadInput(f"The raw data in {lake} cannot be read: {first_line(error)}") from error
    missing = (d.name for d in RAW if not d.optional and not sum(group.rows for group in groups[d.name]))
    others = (path.name for path in raw_layer(lake).iterdir() if path.is_dir() and not path.name.startswith(("_", ".")))
    return LakeReport(reports, tuple(missing), tuple(sorted(set(others) - folders.keys())))


@contextmanager
def _beside(lake: Path) -> Iterator[Path]:
    """A folder beside the lake, where there is room for as much again; where nothing may be written there, one for temporary files."""
    place = lake.resolve().parent
    with tempfile.TemporaryDirectory(prefix=".rex-check-", dir=place if os.access(place, os.W_OK) else None) as folder:
        yield Path(folder)


def _rows(dataset: Dataset, group: Group, folder: Path) -> str:
    """SELECT of what `check_rows` looks at, of files that store their columns alike."""
    misfits = [
        f"WHEN ({why}) IS NOT NULL THEN {{'reason': ({why}), 'cell': '{column.name}=' || left({quoted(stored.name)}::VARCHAR, {CELL_CHARACTERS})}}"
        for column, stored in zip(dataset.columns, group.stored, strict=True)
        if (why := misfit(column, stored)) is not None
    ]
    problem = f"CASE {' '.join(misfits)} END" if misfits else "NULL::STRUCT(reason VARCHAR, cell VARCHAR)"
    more = (
        f"{FILE}[{len(str(folder)) + 2}:] AS _file",
        "NULL AS _line",
        f"{f'{ROW} + 1' if group.has_row_numbers else 'NULL::BIGINT'} AS _row",
        f"{problem} AS _problem",
    )
    return raw_scan(dataset, group, more)
