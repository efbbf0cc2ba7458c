"""Reading streams as one consumer group: pending entries first, acknowledged when their work is done, set aside when it fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import redis
from redis.exceptions import LockError, OutOfMemoryError, ReadOnlyError

from features.errors import Unavailable
from features.keys import Keys
from features.streams import START, StreamEntry
from online.streams.dead_letters import MAX_TRIES, deliveries, set_aside

log = logging.getLogger("rex.online")

BATCH = 200
"""Entries read at once; done within a second or two."""
PENDING_READ = 1000
"""Entries of a dead worker looked at per stream and round."""
OUTAGES = (Unavailable, LockError, redis.ConnectionError, redis.TimeoutError, ReadOnlyError, OutOfMemoryError)
"""Not the entry's fault: the round ends, and the entry is tried again in the next."""


@dataclass(frozen=True, slots=True)
class StreamTask:
    """One piece of work and the entries that ask for it."""

    entries: list[StreamEntry]
    run: Callable[[], None]


Planner = Callable[[list[StreamEntry]], Iterator[StreamTask]]
"""Makes of a stream's entries what is to be done; every entry is in one task."""


class Consumer:
    """All workers have one name, because they take turns: what one leaves behind, the next finds."""

    def __init__(self, client: redis.Redis, keys: Keys, group: str, plans: Mapping[str, Planner]) -> None:
        """`plans`: stream → what to do with its entries."""
        self._client = client
        self._keys = keys
        self._group = group
        self._plans = dict(plans)

    def drain(self, go_on: Callable[[], None]) -> int:
        """Does all that is there; returns how many entries were set aside as a dead letter. `go_on` is called before every task."""
        dead_letters = sum(self._recover(stream, go_on) for stream, count in self._pending().items() if count)
        while (answers := self._read_new()) is not None:
            dead_letters += sum(self._run(stream, entries, go_on) for stream, entries in answers)
        return dead_letters

    def _pending(self) -> dict[str, int]:
        """Stream → its pending entries. Makes groups that are missing; a new one reads its stream from the start."""
        pipe = self._client.pipeline(transaction=False)
        for stream in self._plans:
            pipe.xpending(stream, self._group)
        pending = {}
        for stream, answer in zip(self._plans, pipe.execute(raise_on_error=False), strict=True):
            if isinstance(answer, redis.ResponseError) and str(answer).startswith("NOGROUP"):
                self._client.xgroup_create(stream, self._group, id=START, mkstream=True)
                pending[stream] = 0
            elif isinstance(answer, Exception):
                raise answer
            else:
                pending[stream] = int(answer["pending"])
        return pending

    def _recover(self, stream: str, go_on: Callable[[], None]) -> int:
        """What was read and not acknowledged, one by one: an entry that kills its worker harms no other."""
        dead_letters = 0
        for about in cast("list[Any]", self._client.xpending_range(stream, self._group, "-", "+", PENDING_READ)):
            entry_id = about["message_id"]
            left = cast("list[StreamEntry]", self._client.xrange(stream, entry_id, entry_id))
            if about["times_delivered"] >= MAX_TRIES and left:
                self._set_aside(stream, left[0], "no worker has survived it")
                dead_letters += 1
                continue
            claimed = cast("list[Any]", self._client.xclaim(stream, self._group, self._group, 0, [entry_id]))
            entries = [entry for entry in claimed if entry[1]]
            if not entries:
                self._client.xack(stream, self._group, entry_id)  # trimmed: every kept snapshot holds it
            dead_letters += self._run(stream, entries, go_on)
        return dead_letters

    def _read_new(self) -> list[tuple[str, list[StreamEntry]]] | None:
        """At most BATCH new entries of every stream; None: there are none."""
        pipe = self._client.pipeline(transaction=False)
        for stream in self._plans:
            pipe.xreadgroup(self._group, self._group, {stream: ">"}, count=BATCH)
        found = [(name.decode(), entries) for answer in pipe.execute() for name, entries in answer]
        return found or None

    def _run(self, stream: str, entries: list[StreamEntry], go_on: Callable[[], None]) -> int:
        dead_letters = 0
        for task in self._plans[stream](entries):
            try:
                go_on()
                task.run()
            except OUTAGES:
                self._uncount(stream, task.entries)
                raise
            except Exception as error:
                log.exception("entry %s of %s could not be processed", task.entries[0][0].decode(), stream)
                dead_letters += self._give_up(stream, task.entries, error)
                continue
            self._client.xack(stream, self._group, *(entry_id for entry_id, _ in task.entries))
        return dead_letters

    def _uncount(self, stream: str, entries: Iterable[StreamEntry]) -> None:
        """Takes back one delivery of each: an outage, however many rounds it lasts, is no reason to set them aside."""
        for entry_id, _ in entries:
            if (tries := deliveries(self._client, stream, self._group, entry_id)) is not None:
                before = max(tries - 1, 0)
                self._client.xclaim(stream, self._group, self._group, 0, [entry_id], retrycount=before, justid=True)

    def _give_up(self, stream: str, entries: Iterable[StreamEntry], error: Exception) -> int:
        """Sets aside those that have been tried often enough; the others stay pending and are tried again."""
        dead_letters = 0
        for entry in entries:
            if (deliveries(self._client, stream, self._group, entry[0]) or 0) >= MAX_TRIES:
                self._set_aside(stream, entry, error)
                dead_letters += 1
        return dead_letters

    def _set_aside(self, stream: str, entry: StreamEntry, error: object) -> None:
        set_aside(self._client, self._keys, stream, entry[0].decode(), entry[1], error)
        self._client.xack(stream, self._group, entry[0])
