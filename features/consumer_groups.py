"""How far the consumer groups of a Redis stream are done."""

from __future__ import annotations

from typing import Any

import redis

from features.streams import before


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
