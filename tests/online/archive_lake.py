"""What the tests of the archive share: events as they stand in the streams, and what the lake then holds."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import orjson
import redis

from features.keys import Keys
from online.ingest.events import EventIntake
from online.service_settings import OnlineSettings

KEYS = Keys()
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SETTINGS = OnlineSettings(ingest={"state_ttl_s": 2_592_000})


def event(event_id: str, user: str = "u1", **more: Any) -> dict[str, Any]:
    """An opening of story s1."""
    return {
        "event_id": event_id,
        "user_id": user,
        "type": "open",
        "story_id": "s1",
        "occurred_at": NOW.isoformat(),
    } | more


def accept(client: redis.Redis, *events: dict[str, Any]) -> None:
    """Sends events, all of which must be accepted."""
    receipt = EventIntake(client, KEYS, SETTINGS).accept(events, NOW)
    assert (receipt.accepted, receipt.rejected) == (len(events), ()), receipt


def stream_of(user: str = "u1") -> str:
    return KEYS.event_stream(KEYS.partition(user))


def poison(client: redis.Redis, raw: bytes = b"not JSON", user: str = "u1") -> str:
    """Something in the stream that the service never wrote; returns its id."""
    entry_id: bytes = client.xadd(stream_of(user), {"event": raw})  # type: ignore[assignment]
    return entry_id.decode()


def archived(lake: Path) -> list[str]:
    """The event ids in the lake's events, sorted, repeats included."""
    return sorted(row[0] for row in rows(lake))


def rows(lake: Path) -> list[tuple[Any, ...]]:
    """The lake's events as tuples that begin with the event_id, repeats included."""
    files = [str(path) for path in (lake / "raw" / "events").rglob("[!.]*.parquet")]
    with duckdb.connect() as connection:
        return connection.execute(f"SELECT * FROM read_parquet({files})").fetchall() if files else []


def entries(client: redis.Redis, stream: str) -> list[tuple[str, Any]]:
    """(id, document) of what lies in a stream."""
    stored: Any = client.xrange(stream)
    return [(entry_id.decode(), orjson.loads(next(iter(fields.values())))) for entry_id, fields in stored]
