"""Whether a Redis keeps what it is given: what Rex refuses to start on, and what it only warns of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis
import redis.asyncio

Info = Mapping[str, Any]
"""What `INFO` answers; empty: the user may not ask."""
UNKNOWN = (
    "this Redis does not tell its eviction policy (INFO is forbidden); "
    "make sure that it is noeviction, because any other loses accepted events and snapshots"
)


def info_of(client: redis.Redis) -> Info:
    """One round trip. INFO and not CONFIG, which managed servers forbid; an ACL may forbid INFO as well."""
    try:
        return client.info()  # type: ignore[return-value]
    except redis.ResponseError:
        return {}


async def info_on_loop(client: redis.asyncio.Redis) -> Info:
    """As `info_of`, on the event loop."""
    try:
        return await client.info()
    except redis.ResponseError:
        return {}


def cluster(info: Info) -> str | None:
    """Why a Redis Cluster cannot be used; None: it is none."""
    if info.get("redis_mode") != "cluster" and not info.get("cluster_enabled"):
        return None
    return "it is a node of a Redis Cluster, which Rex does not support; use a single server"


def eviction(info: Info) -> str | None:
    """What the server's memory limit may do to what it holds; None: nothing, or it is not known."""
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction" or not info.get("maxmemory"):
        return None
    return (
        f"it has a memory limit and maxmemory-policy {policy}, which drops accepted events and parts of the snapshot "
        "when the memory is full; set maxmemory-policy noeviction"
    )


def doubts(info: Info) -> list[str]:
    """Sentences for the log and for /readyz: what may be lost on this Redis, and how to prevent it."""
    if not info:
        return [UNKNOWN]
    found = [f"this Redis may lose data: {why}"] if (why := eviction(info)) else []
    if info.get("aof_enabled") == 0:
        found.append(
            "this Redis runs with appendonly no: acknowledged events that are not archived yet would not survive its "
            "restart; set appendonly yes (docs/runbook.md)"
        )
    return found
