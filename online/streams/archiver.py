"""Moves accepted events, stories and answered pages from the Redis streams to the raw lake: today is in tomorrow's features.

A consumer group per stream. For each batch: files first, then the positions, then the acknowledgement. Killed in between,
the same entries come again and make the same files. Only one archiver works at a time, under one name, so what a dead
one has left pending is its successor's.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import redis
from redis.exceptions import LockError

from features.consumer_groups import done_by_group
from features.errors import Unavailable
from features.keys import PARTITIONS, Keys
from features.streams import START, StreamEntry, before, stream_order
from online.streams.archive_files import Converted, convert, replace, write
from online.streams.dead_letters import MAX_TRIES, deliveries, set_aside
from rex.local.faults import first_line

log = logging.getLogger("rex.online")
LOST = (
    "the stream %s is gone from Redis, or is another one than the lake was filled from: what was accepted and not yet "
    "archived is lost; see that maxmemory-policy is noeviction and that Redis keeps its data over a restart"
)
"""What is said of a stream that has vanished."""
POSITIONS_FILE = "_archived.json"
"""Under `<lake>/raw`: stream → position up to which every entry is in the lake (or set aside)."""
BATCH_ENTRIES = 20_000
"""Entries moved at once: 5 MB of plain events in Redis, 50 MB as rows here, and files that are not tiny."""
BATCH_PAGES = 2_000
"""Answered pages moved at once: each is some twenty rows."""
LEASE_S = 60
"""An archiver that died is replaced after this long; one batch takes a second or two."""
Step = Literal["read", "file", "positions", "acknowledge"]
"""Where an archiver stands with a batch: `step` is called after each of these."""
GROUP = "archive"
"""Consumer group of every archived stream."""
_CONSUMER = "archiver"
"""One name for all: they take turns under the lease, and what one left pending the next one reads first."""


def archive(
    client: redis.Redis,
    keys: Keys,
    lake: Path,
    *,
    step: Callable[[Step], None] = lambda step: None,
    durable_first: bool = True,
    lost: Callable[[str], None] = lambda stream: log.error(LOST, stream),
) -> int:
    """Moves everything that is in the streams now; returns the number of entries moved, 0 when another one is at it.

    `durable_first` False acknowledges before the files are written, which loses what a kill catches in between: it is
    there for the test that shows what the order is good for. `lost` is called for each stream that has vanished since it was
    last archived; what is in its place, if anything, is archived.
    """
    lease = client.lock(keys.archive_lease(), timeout=LEASE_S, blocking=False)
    try:
        if not lease.acquire():
            return 0
        work = _Work(client, keys, lake, lease, step, durable_first, lost)
        served = [keys.served_stream(partition) for partition in range(PARTITIONS)]
        events = [keys.event_stream(partition) for partition in range(PARTITIONS)]
        moved = sum(_drain(work, stream, BATCH_ENTRIES) for stream in [keys.story_stream(), *events])
        moved += sum(_drain(work, stream, BATCH_PAGES) for stream in served)
        _trim(client, served)
        return moved
    except redis.RedisError as error:
        raise Unavailable(
            f"Redis cannot be read or the lease ran out, the archive goes on later: {first_line(error)}"
        ) from error
    finally:
        # Not held, or not any more: then another archiver is at it. Redis gone: the lease runs out, and what failed is raised.
        with suppress(LockError, redis.ConnectionError, redis.TimeoutError):
            lease.release()


def read_positions(lake: Path) -> dict[str, str]:
    """Stream → position up to which every entry is in the lake; empty when nothing was archived yet."""
    path = lake / "raw" / POSITIONS_FILE
    return dict(json.loads(path.read_text())) if path.exists() else {}


@dataclass(frozen=True, slots=True)
class _Work:
    """What one run of the archiver has at hand."""

    client: redis.Redis
    keys: Keys
    lake: Path
    lease: Any
    step: Callable[[Step], None]
    durable_first: bool
    lost: Callable[[str], None]


def _drain(work: _Work, stream: str, count: int) -> int:
    """Pending entries first, then new ones. An entry that cannot become a row yet holds the position before it."""
    position = read_positions(work.lake).get(stream, START)
    there = bool(work.client.exists(stream))
    known = _align(work.client, stream, position) if there else position == START
    if not known:
        work.lost(stream)
    if not there:
        return 0
    moved = 0
    for entries in _batches(work.client, stream, count):
        work.step("read")
        converted = convert(entries)
        dead_letters = _set_aside(work, stream, entries, converted.refused)
        position = _reached(work.client, stream, entries, converted.refused.keys() - dead_letters)
        _settle(work, stream, converted, dead_letters, position)
        moved += len(converted.entries)
    return moved


def _set_aside(work: _Work, stream: str, entries: list[StreamEntry], refused: dict[bytes, str]) -> set[bytes]:
    """Sets aside those of the refused that have been tried often enough; returns their ids."""
    fields = dict(entries)
    dead_letters = set()
    for entry_id, reason in refused.items():
        tries = deliveries(work.client, stream, GROUP, entry_id) or 0
        if tries >= MAX_TRIES or not fields[entry_id]:  # of what was trimmed Redis counts no tries, and none would help
            set_aside(work.client, work.keys, stream, entry_id.decode(), fields[entry_id], reason)
            dead_letters.add(entry_id)
    return dead_letters


def _settle(work: _Work, stream: str, converted: Converted, dead_letters: set[bytes], position: str) -> None:
    done = [*(entry_id for entry_id, _ in converted.entries), *dead_letters]

    def make_durable() -> None:
        write(work.lake, stream, converted)
        work.step("file")

    def acknowledge() -> None:
        work.lease.reacquire()  # refused when it ran out: then another archiver moves the positions
        positions = read_positions(work.lake) | {stream: position}
        replace(work.lake / "raw" / POSITIONS_FILE, json.dumps(positions, sort_keys=True).encode())
        work.step("positions")
        if done:
            work.client.xack(stream, GROUP, *done)
        work.step("acknowledge")

    for act in (make_durable, acknowledge) if work.durable_first else (acknowledge, make_durable):
        act()


def _trim(client: redis.Redis, streams: list[str]) -> None:
    """Drops what the archive has of streams that nothing else reads."""
    for stream in streams:
        if (done := done_by_group(client, stream).get(GROUP)) is not None:
            client.xtrim(stream, minid=done, approximate=False)


def _align(client: redis.Redis, stream: str, position: str) -> bool:
    """Makes the group's place agree with the lake, which is the authority on what it holds. False: it is another stream.

    No group yet (an upgrade, or a Redis that was flushed): it starts at the lake's position, or at the beginning when the
    stream does not know that entry, and so is another one than the lake was filled from. A group that is done with
    entries after the lake's position (the lake came back from a backup, or is another one): it is set back. What is read
    twice for that the batch drops.
    """
    done = done_by_group(client, stream).get(GROUP)
    if done is None:
        known = bool(client.xrange(stream, position, position))
        client.xgroup_create(stream, GROUP, id=position if known else START)
        return known or position == START
    elif stream_order(position) < stream_order(done) and client.xrange(stream, f"({position}", done, count=1):
        client.xgroup_setid(stream, GROUP, position)
    return True


def _batches(client: redis.Redis, stream: str, count: int) -> Iterator[list[StreamEntry]]:
    after = START
    while pending := _read(client, stream, after, count):
        after = pending[-1][0].decode()
        yield pending
    while new := _read(client, stream, ">", count):
        yield new


def _read(client: redis.Redis, stream: str, after: str, count: int) -> list[StreamEntry]:
    answer = cast("list[Any]", client.xreadgroup(GROUP, _CONSUMER, {stream: after}, count=count))
    return [(entry_id, fields or {}) for _, entries in answer for entry_id, fields in entries]


def _reached(client: redis.Redis, stream: str, entries: list[StreamEntry], held: Set[bytes]) -> str:
    """Up to where all is in the lake once `entries` are, but for `held`: to the first entry that stays pending.

    There may be some before these: held in an earlier batch, or taken by a read whose answer was lost on its way.
    """
    first, last = entries[0][0].decode(), entries[-1][0].decode()
    mine = [entry_id for entry_id, _ in entries if entry_id in held]
    for pending in (_pending(client, stream, "-", f"({first}"), mine, _pending(client, stream, f"({last}", "+")):
        if pending:
            return before(pending[0].decode())
    groups: list[dict[str, Any]] = client.xinfo_groups(stream)
    (group,) = [group for group in groups if group["name"] == GROUP.encode()]
    return str(group["last-delivered-id"].decode())


def _pending(client: redis.Redis, stream: str, low: str, high: str) -> list[bytes]:
    """Id of the first pending entry in between, if there is one."""
    found = cast("list[Any]", client.xpending_range(stream, GROUP, low, high, 1))
    return [about["message_id"] for about in found]
