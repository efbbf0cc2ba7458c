"""One builder per user and surface at a time, across processes: the others wait for its slate."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from features.errors import Unavailable
from features.keys import Keys
from features.lua import script
from online.service_settings import OnlineSettings
from rex.local.faults import first_line

POLL_S = 0.01
"""How often one who waits looks again: a fraction of what a ranking takes, and a tenth of a millisecond's work."""

_RELEASE = script(__package__, "release")


class Busy(Exception):
    """Another builds for this user and surface, or has done so meanwhile: wait, and look for its slate again."""


class SingleFlight:
    """A lock in Redis whose holder is taken for dead after `build_lease_s`."""

    def __init__(self, client: redis.Redis, keys: Keys, settings: OnlineSettings) -> None:
        self._client = client
        self._keys = keys
        self._lease_ms = round(settings.cache.build_lease_s * 1000)
        self.polls = math.ceil(settings.cache.build_wait_s / POLL_S)
        """How many times one looks again before building without the lock."""

    @contextmanager
    def alone(self, user_id: str, surface: str, newest: str | None) -> Iterator[None]:
        """Holds the lock while the block runs. Busy when another holds it, or when the surface's newest slate is not
        `newest` any more (None: does not matter)."""
        lock, token = self._keys.building(user_id, surface), secrets.token_hex(8)
        try:
            pipe = self._client.pipeline(transaction=False)
            pipe.set(lock, token, nx=True, px=self._lease_ms)
            pipe.hget(self._keys.latest_slates(user_id), surface)
            taken, latest = pipe.execute()
        except redis.RedisError as error:
            raise Unavailable(f"Redis cannot be written, so no feed can be made: {first_line(error)}") from error
        if not taken:
            raise Busy
        try:
            if newest is not None and latest is not None and latest.decode() != newest:
                raise Busy
            yield
        finally:
            self._client.eval(_RELEASE, 1, lock, token)
