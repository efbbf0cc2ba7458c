"""Targets with so many followers that their stories are not pushed but looked up when a feed is built."""

from __future__ import annotations

import threading

import redis

from features.keys import Keys
from features.lua import script
from online.timelines.targets import Pulled, Target, made

_CHANGE = script(__package__, "change_pulled")


class PulledTargets:
    """Reads the set once per version and process; safe to share between threads."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._reading = threading.Lock()
        self._latest = Pulled()

    def at(self, version: int) -> Pulled:
        """The set at `version` or later; without a round trip while the version is the one known."""
        if self._latest.version == version:
            return self._latest
        with self._reading:
            if self._latest.version != version:
                self._latest = self._read()
            return self._latest

    def now(self) -> Pulled:
        """The set as it is: one round trip, two when it has changed."""
        return self.at(int(self._client.get(self._keys.pulled_version()) or 0))  # type: ignore[arg-type]  # typed for asyncio, too

    def add(self, target: Target) -> None:
        """From now on its stories are pulled; to be called before one of them is left unpushed."""
        self._client.eval(_CHANGE, 2, self._keys.pulled(), self._keys.pulled_version(), "SADD", target.name)

    def remove(self, target: Target) -> None:
        """From now on its stories are pushed; to be called when all its followers' timelines hold them."""
        self._client.eval(_CHANGE, 2, self._keys.pulled(), self._keys.pulled_version(), "SREM", target.name)

    def _read(self) -> Pulled:
        pipe = self._client.pipeline(transaction=True)
        pipe.get(self._keys.pulled_version())
        pipe.smembers(self._keys.pulled())
        version, names = pipe.execute()
        return made(int(version or 0), frozenset(name.decode() for name in names))
