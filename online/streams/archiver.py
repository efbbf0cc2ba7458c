"""Moves accepted events, stories and answered pages from the Redis streams to the raw lake: today is in tomorrow's features.

A consumer group per stream. For each batch: files first, then the positions, then the acknowledgement. Killed in between,
the same entries come again and make the same files. Only one archiver works at a time, under one name, so what a dead
one has left pending is its successor's.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import redis
from redis.exceptions import LockError

from features.consumer_groups import done_by_group
from features.errors import Unavailable
from features.keys import PARTITIONS, Keys
from features.streams import START, StreamEntry
from online.streams.archive_files import Converted, convert, replace, write
from online.streams.archive_group import GROUP, align, batches, reached
from online.streams.dead_letters import MAX_TRIES, set_aside
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
    there for the test that shows what the order is good for. `lost` is told of each stream that has vanished since it was
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
        # Not held, or not any more: then another archiver is at it. Redis gone: the lease runs out, and what failed is told.
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
    known = align(work.client, stream, position) if there else position == START
    if not known:
        work.lost(stream)
    if not there:
        return 0
    moved = 0
    for entries in batches(work.client, stream, count):
        work.step("read")
        converted = convert(entries)
        dead_letters = _set_aside(work, stream, entries, converted.refused)
        _settle(
            work,
            stream,
            converted,
            dead_letters,
            reached(work.client, stream, entries, converted.refused.keys() - dead_letters),
        )
        moved += len(converted.entries)
    return moved


def _set_aside(work: _Work, stream: str, entries: list[StreamEntry], refused: dict[bytes, str]) -> set[bytes]:
    """Sets aside those of the refused that have been tried often enough; returns their ids."""
    fields = dict(entries)
    dead_letters = set()
    for entry_id, reason in refused.items():
        about = cast("list[Any]", work.client.xpending_range(stream, GROUP, entry_id, entry_id, 1))
        tries = about[0]["times_delivered"] if about else 0
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
