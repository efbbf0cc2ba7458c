"""The archiver's place in a stream: a consumer group, kept in agreement with the lake."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Any, cast

import redis

from features.consumer_groups import done_by_group
from features.streams import START, StreamEntry, before, stream_order

GROUP = "archive"
"""Consumer group of every archived stream."""
_CONSUMER = "archiver"
"""One name for all: they take turns under the lease, and what one left pending the next one reads first."""


def align(client: redis.Redis, stream: str, position: str) -> bool:
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


def batches(client: redis.Redis, stream: str, count: int) -> Iterator[list[StreamEntry]]:
    after = START
    while pending := _read(client, stream, after, count):
        after = pending[-1][0].decode()
        yield pending
    while new := _read(client, stream, ">", count):
        yield new


def _read(client: redis.Redis, stream: str, after: str, count: int) -> list[StreamEntry]:
    answer = cast("list[Any]", client.xreadgroup(GROUP, _CONSUMER, {stream: after}, count=count))
    return [(entry_id, fields or {}) for _, entries in answer for entry_id, fields in entries]


def reached(client: redis.Redis, stream: str, entries: list[StreamEntry], held: Set[bytes]) -> str:
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
