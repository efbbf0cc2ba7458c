"""Splits the events of a query by UTC day and writes each day's partition; undated ones lie in a folder of their own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from lake.writer import ROWS_PER_GROUP, write_raw

UNDATED_FOLDER = "undated"


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
