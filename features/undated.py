"""Whether a raw dataset has no dates at all, as collections of papers and books have none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from features.duckdb_sql import literal, quoted
from features.errors import BadInput
from features.lake_files import ARCHIVED, Group, inspect, raw_layer
from features.lake_layout import duckdb_path
from features.raw_datasets import EVENTS, STORIES
from features.schema import Dataset


def is_undated(dataset: Dataset, groups: Sequence[Group]) -> bool:
    """Whether no row states when it happened, and some state when they were received: then no row has to state more.

    What the service archived does not count: it has dates from the day on that an undated lake is served. Cheap: the first row
    with a date ends the search.
    """
    if not dataset.may_be_undated:
        return False
    happened, *_, received = dataset.times
    with duckdb.connect() as db:
        return not _is_stated(db, dataset, groups, happened) and _is_stated(db, dataset, groups, received)


def refuse_undated(lake: Path, purpose: str) -> None:
    """BadInput where there is no lake, and for one whose stories or events have no dates; `purpose`: what that stops, and why."""
    raw = raw_layer(lake)
    for dataset in (STORIES, EVENTS):
        if is_undated(dataset, inspect(dataset, raw / dataset.name)):
            raise BadInput(f"The {dataset.name} of the lake at {lake} have no dates: {purpose}")


def _is_stated(db: duckdb.DuckDBPyConnection, dataset: Dataset, groups: Sequence[Group], column: str) -> bool:
    """Whether a row that the service did not archive has a value in `column`."""
    for group in groups:
        stored = group.stored[dataset.names.index(column)]
        names = [literal(duckdb_path(path)) for path in group.files if not ARCHIVED.fullmatch(path.name)]
        if not names or not (stored.name or stored.value):
            continue
        value = quoted(stored.name) if stored.name else "1"
        scan = f"read_parquet([{', '.join(names)}], hive_partitioning = false)"
        if db.execute(f"SELECT 1 FROM {scan} WHERE {value} IS NOT NULL LIMIT 1").fetchall():
            return True
    return False
