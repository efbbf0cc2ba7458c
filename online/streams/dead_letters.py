"""Entries that could not be processed after several tries: set aside with the reason, so that they block nobody.

Whoever sets an entry aside acknowledges it afterwards. Killed in between, the entry is set aside as a dead letter a second time; nothing is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import redis

from features.keys import Keys
from features.streams import StreamEntry

log = logging.getLogger("rex.online")

MAX_TRIES = 3
"""Deliveries before an entry is set aside as a dead letter: one for a fault that passes, one for the consumer that died of it."""
MAX_DEAD_LETTERS = 10_000
"""Dead letters kept, newest last; of events of at most 16 kB some 160 MB, and far more than anyone reads."""
MAX_ERROR_CHARACTERS = 500
"""Of the reason; an error that quotes its input may be as long as the input."""
_FIELD = b"field:"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One entry set aside."""

    position: str
    """Its id in the stream of dead letters."""
    failed_at: datetime
    stream: str
    """Key of the stream it came from."""
    entry_id: str
    """Its id there."""
    error: str
    fields: dict[bytes, bytes]
    """What the entry held."""


def set_aside(
    client: redis.Redis, keys: Keys, stream: str, entry_id: str, fields: Mapping[bytes, bytes], error: object
) -> None:
    """Sets an entry aside and logs it. RedisError when that cannot be stored: then it must not be acknowledged."""
    reason = str(error)[:MAX_ERROR_CHARACTERS]
    about: dict[Any, Any] = {"stream": stream, "entry_id": entry_id, "error": reason}
    held = {_FIELD + name: value for name, value in fields.items()}
    client.xadd(keys.dead_letters(), about | held, maxlen=MAX_DEAD_LETTERS, approximate=False)
    log.error("entry %s of %s is set aside as a dead letter: %s", entry_id, stream, reason)


def deliveries(client: redis.Redis, stream: str, group: str, entry_id: bytes) -> int | None:
    """How often an entry was handed to the group's consumers; None: it is not pending."""
    about = cast("list[Any]", client.xpending_range(stream, group, entry_id, entry_id, 1))
    return int(about[0]["times_delivered"]) if about else None


def dead_letters(client: redis.Redis, keys: Keys, count: int = MAX_DEAD_LETTERS) -> list[DeadLetter]:
    """The newest `count` dead letters, oldest first."""
    newest_first = cast("list[StreamEntry]", client.xrevrange(keys.dead_letters(), count=count))
    return [_decoded(entry) for entry in reversed(newest_first)]


def dead_letter_count(client: redis.Redis, keys: Keys) -> int:
    """How many are set aside."""
    return client.xlen(keys.dead_letters())


def _decoded(entry: StreamEntry) -> DeadLetter:
    position, about = entry
    return DeadLetter(
        position=position.decode(),
        failed_at=datetime.fromtimestamp(int(position.split(b"-")[0]) / 1000, UTC),
        stream=about[b"stream"].decode(),
        entry_id=about[b"entry_id"].decode(),
        error=about[b"error"].decode(),
        fields={name.removeprefix(_FIELD): value for name, value in about.items() if name.startswith(_FIELD)},
    )
