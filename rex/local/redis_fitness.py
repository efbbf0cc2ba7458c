"""Whether a Redis keeps what it is given: what Rex refuses to start on, and what it only warns of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import redis
import redis.asyncio

from rex.local.faults import refusal

Info = Mapping[str, Any]
"""What `INFO` answers; empty: the user may not ask."""
UNKNOWN = (
    "this Redis does not tell its eviction policy (INFO is forbidden); "
    "make sure that it is noeviction, because any other loses accepted events and snapshots"
)


def info_of(client: redis.Redis) -> Info:
    """One round trip. INFO and not CONFIG, which managed servers forbid; an ACL may forbid INFO as well."""
    try:
        return cast(Info, client.info())
    except redis.ResponseError:
        return {}


async def info_on_loop(client: redis.asyncio.Redis) -> Info:
    """As `info_of`, on the event loop."""
    try:
        return await client.info()
    except redis.ResponseError:
        return {}


class Evicting(Exception):
    """The server may drop keys; the message is its policy."""


def unfit(info: Info) -> Exception | None:
    """What keeps Rex from using this server, as `rex.local.faults` words it; None: nothing, or it is not known."""
    if info.get("redis_mode", "standalone") != "standalone" or info.get("cluster_enabled"):
        return redis.RedisError("CLUSTERDOWN")
    policy = info.get("maxmemory_policy", "noeviction")
    return Evicting(policy) if policy != "noeviction" and info.get("maxmemory") else None


def doubts(info: Info) -> list[str]:
    """Sentences for the log and for /readyz: what may be lost on this Redis, and how to prevent it."""
    if not info:
        return [UNKNOWN]
    found = [str(refusal(why))] if (why := unfit(info)) else []
    if info.get("maxmemory") and info["used_memory"] >= info["maxmemory"]:
        found.append("Redis has no memory left: it refuses events and new feeds; raise its maxmemory")
    if info.get("aof_enabled") == 0:
        found.append(
            "this Redis runs with appendonly no: acknowledged events that are not archived yet would not survive its "
            "restart; set appendonly yes (docs/runbook.md)"
        )
    return found
