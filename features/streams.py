"""Redis streams as both sides see them: the order of entry ids, and how far a consumer group is done."""

from __future__ import annotations

from typing import Any

import redis

START = "0-0"
"""Position before the first entry of any stream."""
LAST_SEQUENCE = (1 << 64) - 1
"""The greatest sequence number that Redis gives to entries of one millisecond."""


def stream_order(position: str) -> tuple[int, int]:
    """Stream ids `<ms>-<seq>` compared as numbers; as text they would sort wrongly."""
    ms, _, sequence = position.partition("-")
    return int(ms), int(sequence or 0)


def before(entry_id: str) -> str:
    """The greatest position before an entry."""
    ms, sequence = stream_order(entry_id)
    if sequence:
        return f"{ms}-{sequence - 1}"
    return f"{ms - 1}-{LAST_SEQUENCE}" if ms else START


def done_by_group(client: redis.Redis, stream: str) -> dict[str, str]:
    """Consumer group → position up to which it has acknowledged every entry; empty where there is no such stream.

    Nothing after that position may be trimmed: it has been promised to the group.
    """
    if not client.exists(stream):
        return {}
    groups: list[dict[str, Any]] = client.xinfo_groups(stream)  # type: ignore[assignment]
    done = {}
    for group in groups:
        pending: dict[str, Any] = client.xpending(stream, group["name"])  # type: ignore[assignment]
        oldest = pending["min"]
        reached = before(oldest.decode()) if oldest else group["last-delivered-id"].decode()
        done[group["name"].decode()] = reached
    return done
