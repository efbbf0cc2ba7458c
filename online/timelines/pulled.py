"""Targets with so many followers that their stories are not pushed but looked up when a feed is built."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np
import redis

from features.keys import Keys
from features.lua import script
from online.columns import Hashes
from online.story_table.lookup import one_of
from online.timelines.targets import Follows, Target, less

_CHANGE = script(__package__, "change_pulled")


def _none() -> Hashes:
    return np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Pulled:
    """The pulled targets at one version."""

    version: int = 0
    names: frozenset[str] = frozenset()
    authors: Hashes = field(default_factory=_none)
    publications: Hashes = field(default_factory=_none)

    def __contains__(self, target: Target) -> bool:
        return target.name in self.names

    def of(self, follows: Follows) -> Follows:
        """The part of `follows` that is pulled."""
        authors = follows.authors[one_of(follows.authors, self.authors)]
        publications = follows.publications[one_of(follows.publications, self.publications)]
        return Follows(authors, publications, follows.refused_authors, follows.refused_publications)

    def pushed(self, follows: Follows) -> Follows:
        """The part of `follows` that is pushed."""
        authors, publications = less(follows.authors, self.authors), less(follows.publications, self.publications)
        return Follows(authors, publications, follows.refused_authors, follows.refused_publications)

    def without(self, target: Target) -> Pulled:
        """As if the target were pushed already."""
        return made(self.version, self.names - {target.name})


def made(version: int, names: frozenset[str]) -> Pulled:
    """From the members of the set, `type:hash`."""
    by_type: dict[str, list[int]] = {"author": [], "publication": []}
    for name in names:
        kind, _, target = name.partition(":")
        by_type[kind].append(int(target))
    authors, publications = (np.array(sorted(by_type[kind]), np.int64) for kind in ("author", "publication"))
    return Pulled(version, names, authors, publications)


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
