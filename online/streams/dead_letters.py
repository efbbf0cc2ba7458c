"""Entries that could not be processed after several tries: set aside with the reason, so that they block nobody.

Whoever parks an entry acknowledges it afterwards. Killed in between, the entry is parked a second time; nothing is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import redis

from features.keys import Keys
from online.streams.entries import StreamEntry

log = logging.getLogger("rex.online")

MAX_TRIES = 3
"""Deliveries before an entry is parked: one for a fault that passes, one for the consumer that died of it."""
MAX_PARKED = 10_000
"""Parked entries kept, newest last; of events of at most 16 kB some 160 MB, and far more than anyone reads."""
MAX_ERROR_CHARACTERS = 500
"""Of the reason; an error that quotes its input may be as long as the input."""
_FIELD = b"field:"


@dataclass(frozen=True, slots=True)
class Parked:
    """One entry set aside."""

    position: str
    """Its id in the stream of parked entries."""
    parked_at: datetime
    stream: str
    """Key of the stream it came from."""
    entry_id: str
    """Its id there."""
    error: str
    fields: dict[bytes, bytes]
    """What the entry held."""


def park(
    client: redis.Redis, keys: Keys, stream: str, entry_id: str, fields: Mapping[bytes, bytes], error: object
) -> None:
    """Sets an entry aside and logs it. RedisError when that cannot be stored: then it must not be acknowledged."""
    reason = str(error)[:MAX_ERROR_CHARACTERS]
    about: dict[Any, Any] = {"stream": stream, "entry_id": entry_id, "error": reason}
    held = {_FIELD + name: value for name, value in fields.items()}
    client.xadd(keys.parked(), about | held, maxlen=MAX_PARKED, approximate=False)
    log.error("entry %s of %s is parked: %s", entry_id, stream, reason)


def parked(client: redis.Redis, keys: Keys, count: int = MAX_PARKED) -> list[Parked]:
    """The newest `count` parked entries, oldest first."""
    newest_first = cast("list[StreamEntry]", client.xrevrange(keys.parked(), count=count))
    return [_decoded(entry) for entry in reversed(newest_first)]


def parked_count(client: redis.Redis, keys: Keys) -> int:
    """How many are set aside."""
    return client.xlen(keys.parked())


def _decoded(entry: StreamEntry) -> Parked:
    position, about = entry
    return Parked(
        position=position.decode(),
        parked_at=datetime.fromtimestamp(int(position.split(b"-")[0]) / 1000, UTC),
        stream=about[b"stream"].decode(),
        entry_id=about[b"entry_id"].decode(),
        error=about[b"error"].decode(),
        fields={name.removeprefix(_FIELD): value for name, value in about.items() if name.startswith(_FIELD)},
    )
