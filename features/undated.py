"""Whether a raw dataset has no dates at all, as collections of papers and books have none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from features.duckdb_sql import literal, quoted
from features.errors import BadInput
from features.lake_files import ARCHIVED, Group, inspect, raw_layer
from features.paths import duckdb_path
from features.raw_datasets import EVENTS, STORIES
from features.schema import Dataset


def is_undated(dataset: Dataset, groups: Sequence[Group]) -> bool:
    """Whether no row says when it happened, and some say when they were received: then no row has to say more.

    What the service archived does not count: it has dates from the day on that an undated lake is served. Cheap: the first row
    with a date ends the search.
    """
    if not dataset.may_be_undated:
        return False
    happened, *_, received = dataset.times
    brought = [
        (group, files) for group in groups if (files := [p for p in group.files if not p.name.startswith(ARCHIVED)])
    ]
    with duckdb.connect() as db:
        dated, known = (
            any(_says(db, dataset, group, files, time) for group, files in brought) for time in (happened, received)
        )
    return known and not dated


def refuse_undated(lake: Path, purpose: str) -> None:
    """BadInput for a lake whose stories or events have no dates; `purpose`: what that stops, and why."""
    for dataset in (STORIES, EVENTS):
        if is_undated(dataset, inspect(dataset, raw_layer(lake) / dataset.name)):
            raise BadInput(f"The {dataset.name} of the lake at {lake} have no dates: {purpose}")


def _says(db: duckdb.DuckDBPyConnection, dataset: Dataset, group: Group, files: Sequence[Path], column: str) -> bool:
    """Whether a row of these files has a value in `column`."""
    stored = group.stored[dataset.names.index(column)]
    if not stored.name:
        return stored.value is not None
    names = ", ".join(literal(duckdb_path(path)) for path in files)
    scan = f"read_parquet([{names}], hive_partitioning = false)"
    return bool(db.execute(f"SELECT 1 FROM {scan} WHERE {quoted(stored.name)} IS NOT NULL LIMIT 1").fetchall())
