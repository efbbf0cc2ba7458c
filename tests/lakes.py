"""Small raw lakes, row by row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.datasets import dataset

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
"""The as_of of most tests."""

ANY_NAME = "it's [a] b*?{x,y} #1 50%41 language=xx"
"""A folder whose name is all that some engine takes for a pattern, an escape or a partition."""

Row = Mapping[str, Any]


def ago(days: float = 0, hours: float = 0, seconds: float = 0) -> datetime:
    """A moment before NOON."""
    return NOON - timedelta(days=days, hours=hours, seconds=seconds)


def write_rows(lake: Path, name: str, rows: Sequence[Row], file: str = "part-00000.parquet") -> Path:
    """One file of the raw dataset `name`, with just the columns that the rows name."""
    present = {column for row in rows for column in row} or set(dataset(name).names)
    schema = pa.schema([field for field in dataset(name).arrow_schema() if field.name in present])
    schema = pa.schema([field.with_nullable(True) for field in schema])
    path = lake / "raw" / name / file
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)
    return path


def write_lake(lake: Path, **datasets: Sequence[Row]) -> Path:
    """A raw lake of the named datasets."""
    for name, rows in datasets.items():
        write_rows(lake, name, rows)
    return lake


def story(story_id: str, published_at: datetime | None = None, **more: Any) -> dict[str, Any]:
    """A story, twenty days old unless said otherwise."""
    return {"story_id": story_id, "published_at": published_at or ago(days=20), **more}


def event(user_id: str, kind: str, story_id: str, occurred_at: datetime, **more: Any) -> dict[str, Any]:
    """`user_id` did `kind` with `story_id`."""
    return {"user_id": user_id, "story_id": story_id, "type": kind, "occurred_at": occurred_at, **more}


def events(kind: str, story_id: str, users: Iterable[str], occurred_at: datetime) -> list[dict[str, Any]]:
    """One event each of several users."""
    return [event(user, kind, story_id, occurred_at) for user in users]
