"""What the Redis at hand does with acknowledged events when it is restarted."""

from __future__ import annotations

import redis


def doubts(client: redis.Redis) -> str | None:
    """A sentence for the log when acknowledged events would not survive a restart of Redis.

    None when they would, and when the server does not tell: managed ones forbid CONFIG, and have settings of their own.
    """
    try:
        appendonly = client.config_get("appendonly").get("appendonly")
    except redis.ResponseError:
        return None
    if appendonly != "no":
        return None
    return (
        "this Redis runs with appendonly no: acknowledged events that are not archived yet would not survive its restart; "
        "set appendonly yes (docs/runbook.md)"
    )
