"""Targets with so many followers that their stories are not pushed but looked up when a feed is built."""

from __future__ import annotations

import threading

import redis

from features.keys import Keys
from online.timelines.targets import Pulled, Target, made

# KEYS: pulled, its version. ARGV: target. The version grows with every change, so that readers know when to read anew.
_ADD = "if redis.call('SADD', KEYS[1], ARGV[1]) == 1 then return redis.call('INCR', KEYS[2]) end return 0"
_REMOVE = "if redis.call('SREM', KEYS[1], ARGV[1]) == 1 then return redis.call('INCR', KEYS[2]) end return 0"


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
        return self.at(int(self._client.get(self._keys.pulled_version()) or 0))  # type: ignore[arg-type]

    def add(self, target: Target) -> None:
        """From now on its stories are pulled; to be called before one of them is left unpushed."""
        self._client.eval(_ADD, 2, self._keys.pulled(), self._keys.pulled_version(), target.name)

    def remove(self, target: Target) -> None:
        """From now on its stories are pushed; to be called when all its followers' timelines hold them."""
        self._client.eval(_REMOVE, 2, self._keys.pulled(), self._keys.pulled_version(), target.name)

    def _read(self) -> Pulled:
        pipe = self._client.pipeline(transaction=True)
        pipe.get(self._keys.pulled_version())
        pipe.smembers(self._keys.pulled())
        version, names = pipe.execute()
        return made(int(version or 0), frozenset(name.decode() for name in names))
