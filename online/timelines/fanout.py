"""The fan-out worker: what happens in the streams becomes what is in users' timelines.

It reads the story stream, the event streams (for follows, mutes, blocks) and the stream of users who return. All work may
be repeated, so what a dead worker has left behind is done again. One worker is active at a time, under a lease.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
import redis
from redis.exceptions import LockError

from features.choices import EDGE_TYPES
from features.errors import Unavailable
from features.keys import PARTITIONS, Keys
from features.packing import CorruptValue
from features.settings import Settings
from features.streams import StreamEntry
from features.times import micros
from online.clock import Clock, clock_from
from online.feed.snapshot_loader import LiveSnapshot
from online.service_settings import OnlineSettings
from online.story_table.story_change import decode_change
from online.streams.consuming import Consumer, StreamTask
from online.timelines.distributing import Distributor
from online.timelines.reconciling import Reconciler
from online.timelines.timeline import VIA
from rex.local.faults import first_line
from rex.local.redis import connect

log = logging.getLogger("rex.online")

GROUP = "fanout"
"""The consumer group, and the one consumer in it."""
LEASE_S = 30
"""A worker that died is replaced after this long."""
RENEW_S = 5.0
"""The lease is renewed after this long, between two tasks; should one take longer than the lease, another repeats it."""


@dataclass(slots=True)
class Done:
    """What one round did."""

    stories: int = 0
    users: int = 0
    """Timelines reconciled."""
    dead_letters: int = 0


class FanOut:
    """`work` does everything that is to be done now."""

    def __init__(
        self,
        client: redis.Redis,
        keys: Keys,
        settings: OnlineSettings,
        live: LiveSnapshot,
        clock: Clock,
        *,
        dedupe: bool = True,
    ) -> None:
        """`dedupe` False: see Distributor."""
        self._client = client
        self._keys = keys
        self._live = live
        self._clock = clock
        self._reconciler = Reconciler(client, keys, settings, live, clock)
        self._distributor = Distributor(client, keys, settings, live, self._reconciler, dedupe=dedupe)
        events = [keys.event_stream(partition) for partition in range(PARTITIONS)]
        plans = {
            keys.story_stream(): self._stories,
            **dict.fromkeys(events, self._edges),
            keys.returns(): self._returns,
        }
        self._consumer = Consumer(client, keys, GROUP, plans)
        self._tidied = ""
        """Snapshot since whose loading nothing had to be tidied up."""
        self._done = Done()

    def work(self) -> Done:
        """Drains the streams; does nothing while another worker is active.

        Unavailable when Redis cannot be used or no snapshot is loaded: then what is left is done the next time.
        """
        self._done = Done()
        self._live.get()
        lease = self._client.lock(self._keys.fanout_lease(), timeout=LEASE_S, blocking=False)
        try:
            if lease.acquire():
                try:
                    self._round(Renewal(lease))
                finally:
                    with suppress(LockError):  # it ran out: then another worker is at it
                        lease.release()
        except (redis.RedisError, LockError) as error:
            raise Unavailable(
                f"stories cannot be fanned out now, the rest is done later: {first_line(error)}"
            ) from error
        return self._done

    def _round(self, renewal: Renewal) -> None:
        self._done.dead_letters = self._consumer.drain(renewal)
        self._distributor.release(micros(self._clock()))
        if self._tidied != (version := self._live.get().version):
            self._distributor.tidy_up()
            self._tidied = version

    def _stories(self, entries: list[StreamEntry]) -> Iterator[StreamTask]:
        for entry in entries:
            yield StreamTask([entry], partial(self._distribute, entry))

    def _distribute(self, entry: StreamEntry) -> None:
        self._distributor.distribute(decode_change(entry[1]), entry[0].decode(), micros(self._clock()))
        self._done.stories += 1

    def _edges(self, entries: list[StreamEntry]) -> Iterator[StreamTask]:
        """One task for each user whose follows, mutes or blocks changed; and one for all that changes no timeline."""
        users: dict[str, list[StreamEntry]] = {}
        others: list[StreamEntry] = []
        for entry in entries:
            try:
                user = _whose_follows(entry)
            except (ValueError, KeyError, TypeError) as error:
                yield StreamTask([entry], partial(_refuse, error))
                continue
            (others if user is None else users.setdefault(user, [])).append(entry)
        if others:
            yield StreamTask(others, lambda: None)
        for user, asking in users.items():
            yield StreamTask(asking, partial(self._bring_in_line, user))

    def _bring_in_line(self, user_id: str) -> None:
        if self._reconciler.is_active(user_id):
            self._reconcile(user_id)

    def _returns(self, entries: list[StreamEntry]) -> Iterator[StreamTask]:
        users: dict[bytes, list[StreamEntry]] = {}
        for entry in entries:
            users.setdefault(entry[1].get(b"user_id", b""), []).append(entry)
        for user, asking in users.items():
            yield StreamTask(asking, partial(self._reconcile, user.decode()) if user else partial(_refuse, _NOBODY))

    def _reconcile(self, user_id: str) -> None:
        self._reconciler.reconcile(user_id)
        self._done.users += 1


class Renewal:
    """Keeps a lease while the work goes on. LockError when it was lost."""

    def __init__(self, lease: Any) -> None:
        self._lease = lease
        self._renewed = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._renewed > RENEW_S:
            self._lease.reacquire()
            self._renewed = time.monotonic()


def _whose_follows(entry: StreamEntry) -> str | None:
    """The user whose follow, mute or block of an author or publication changed; None: no such event."""
    if b"user" in entry[1] or b'"target_type"' not in entry[1][b"event"]:
        return None  # accounts and most events; spares decoding them
    event = orjson.loads(entry[1][b"event"])
    concerns = event["type"] in EDGE_TYPES and event["target_type"] in VIA
    return str(event["user_id"]) if concerns else None


def _refuse(error: Exception) -> None:
    raise error


_NOBODY = ValueError("the entry names nobody")


def run_fanout(settings: Settings, online: OnlineSettings, once: bool) -> Done:
    """The worker as a process of its own: one round, or round after round until interrupted.

    `once`: Unavailable when Redis or the snapshot is missing; otherwise it waits for them.
    """
    with connect(settings) as client:
        keys, clock = Keys(settings.redis_prefix), clock_from(online.as_if)
        live = LiveSnapshot(client, keys)
        fan_out = FanOut(client, keys, online, live, clock)
        while True:
            try:
                live.refresh()
                done = fan_out.work()
                if once:
                    return done
            except (Unavailable, CorruptValue) as error:
                if once:
                    raise
                log.warning("%s", error)
            time.sleep(online.timelines.fanout_every_s)
