"""How far the consumer groups of a Redis stream are done."""

from __future__ import annotations

import redis

from features.streams import before


def done_by_group(client: redis.Redis, stream: str) -> dict[str, str]:
    """Consumer group → position up to which it has acknowledged every entry; empty where there is no such stream.

    Nothing after that position may be trimmed: it has been promised to the group.
    """
    if not client.exists(stream):
        return {}
    done = {}
    for group in client.xinfo_groups(stream):
        pending = client.xpending(stream, group["name"])
        oldest = pending["min"]
        reached = before(oldest.decode()) if oldest else group["last-delivered-id"].decode()
        done[group["name"].decode()] = reached
    return done
