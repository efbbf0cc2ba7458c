"""Small reading logs, interaction by interaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from evaluation.reading_log import Log, read_log
from tests.lakes import event, write_lake

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(day: float) -> datetime:
    """A moment, in days since START."""
    return START + timedelta(days=day)


def interactions(rows: Sequence[tuple[str, str, float]], kind: str = "read") -> list[dict[str, Any]]:
    """(user, story, day) → events."""
    return [event(user, kind, story, at(day)) for user, story, day in rows]


def log_of(lake: Path, stories: dict[str, float], events: Sequence[dict[str, Any]], **more: Any) -> Log:
    """The log of a lake with stories (id → day published) and events."""
    rows = [{"story_id": name, "published_at": at(day), **more.get(name, {})} for name, day in stories.items()]
    write_lake(lake, stories=rows, events=list(events))
    return read_log(lake)


def number(log: Log, story_id: str) -> int:
    """Index of a story in the log."""
    return int(log.story_ids.to_pylist().index(story_id))


def user(log: Log, user_id: str) -> int:
    """Index of a user in the log."""
    return int(log.user_ids.to_pylist().index(user_id))
