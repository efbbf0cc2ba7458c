"""Rebuilds the follower index, and the timelines of the users whom the lake shows to have been active lately."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import redis
from redis.exceptions import LockError
from rich.progress import Progress

from features.duckdb_views import connect as views
from features.errors import Unavailable
from features.keys import Keys
from features.settings import Settings
from lake.progress import bar
from online.clock import clock_from
from online.feed.snapshot_loader import LiveSnapshot
from online.service_settings import OnlineSettings
from online.timelines.fanout import LEASE_S, Renewal
from online.timelines.reconciling import Reconciler
from rex.local.redis import connect

ACTIVE_DAYS = 30
"""Whoever did something in the lake's last month is likely to come back; everyone else's return rebuilds."""
UNLINKED = 1000
"""Keys removed at once."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was done."""

    users: int
    """Timelines made."""
    targets: int
    """Authors and publications with a follower set now."""
    removed: int
    """Keys of the index and of timelines that were there before."""
    snapshot: str
    """Whose follows, with what users changed since, they were made from."""


def rebuild_timelines(
    settings: Settings, lake: Path, progress: Progress, online: OnlineSettings | None = None
) -> Rebuilt:
    """Clears the index and all timelines, then makes them for the lake's active users. Feeds are whole meanwhile.

    BadInput when there is no lake; Unavailable when no snapshot is published, from which follows are read, or while a
    worker holds the lease for longer than it would live without one.
    """
    users = active_users(lake)
    online = online or OnlineSettings()
    with connect(settings) as client:
        keys = Keys(settings.redis_prefix)
        live = LiveSnapshot(client, keys)
        live.refresh()
        lease = client.lock(keys.fanout_lease(), timeout=LEASE_S, blocking_timeout=2 * LEASE_S)
        if not lease.acquire():
            raise Unavailable("a fan-out worker is at work without a pause; stop it or try again")
        try:
            renew = Renewal(lease)
            removed = _clear(client, keys, renew)
            reconciler = Reconciler(client, keys, online, live, clock_from(online.as_if))
            with bar(progress, "timelines", len(users)) as advance:
                for user_id in users:
                    renew()
                    reconciler.reconcile(user_id)
                    advance()
        finally:
            with suppress(LockError):  # it ran out, and a worker has taken over
                lease.release()
        targets = sum(1 for _ in client.scan_iter(match=_escaped(keys.follower_sets()), count=UNLINKED))
        return Rebuilt(len(users), targets, removed, live.get().version)


def active_users(lake: Path) -> list[str]:
    """Ids of those with an event or a changed edge in the lake's last ACTIVE_DAYS days, in order. BadInput without a lake."""
    with views(lake) as db:
        found = db.execute(
            f"""
            WITH interactions AS (
                SELECT user_id, coalesce(occurred_at, received_at) AS occurred_at FROM events UNION ALL SELECT user_id, occurred_at FROM edges)
            SELECT DISTINCT user_id FROM interactions
            WHERE user_id IS NOT NULL AND occurred_at > (SELECT max(occurred_at) FROM interactions) - INTERVAL {ACTIVE_DAYS} DAYS
            ORDER BY user_id
            """
        ).fetchall()
    return [str(user_id) for (user_id,) in found]


def _clear(client: redis.Redis, keys: Keys, renew: Renewal) -> int:
    """Removes every timeline and follower set. Timelines go first: whoever has none is pushed nothing."""
    removed = 0
    for pattern in (*keys.timeline_patterns(), keys.follower_sets()):
        batch: list[bytes] = []
        for key in client.scan_iter(match=_escaped(pattern), count=UNLINKED):
            if not keys.is_delivery(key.decode()):
                continue
            batch.append(key)
            if len(batch) == UNLINKED:
                removed += _unlink(client, batch)
                renew()
        removed += _unlink(client, batch)
    return removed


def _unlink(client: redis.Redis, batch: list[bytes]) -> int:
    pipe = client.pipeline(transaction=False)  # one command a key: on a cluster they lie in different slots
    for key in batch:
        pipe.unlink(key)
    batch.clear()
    return sum(pipe.execute())


def _escaped(pattern: str) -> str:
    """Only the stars of a pattern are meant; a prefix may hold brackets."""
    return "".join(f"\\{c}" if c in "?[]\\^" else c for c in pattern)
