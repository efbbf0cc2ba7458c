"""How many entries of each author and of each publication may still be taken, and taking one by one under such limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from online.columns import Bools

Integers = NDArray[np.integer[Any]]

MANY = 1 << 20
"""Room without a limit; no list is as long."""


def one_by_one(keys: Integers, room: Integers) -> Bools:
    """bool[m]: who gets a place when m are taken in order, each only if there is room left for all of its keys.

    `keys`: int[k, m], indices into `room`. Whoever has room even if all earlier ones with the same keys are counted gets a
    place for certain. With these gone, the others are looked at again, except those with a key that has no room left: so
    one that is kept out by one key takes no room of another. The result is that of a loop over the m.
    """
    taken: Bools = _within_room(keys, room)
    if taken.all():
        return taken
    left, room, keys = np.flatnonzero(~taken), less(room, keys[:, taken]), keys[:, ~taken]
    while True:
        has_room = np.all(room[keys] > 0, axis=0)
        left, keys = left[has_room], keys[:, has_room]
        if not len(left):
            return taken
        certain = _within_room(keys, room)
        taken[left[certain]] = True
        left, room, keys = left[~certain], less(room, keys[:, certain]), keys[:, ~certain]


def less(room: Integers, keys: Integers) -> Integers:
    """`room` after a place was given to each of `keys`: int[k, m]."""
    return room - np.bincount(keys.ravel(), minlength=len(room))


def _within_room(keys: Integers, room: Integers) -> Bools:
    """bool[m]: for each key, fewer earlier ones have it than there is room."""
    flat = keys.ravel()
    order = np.argsort(flat, kind="stable")
    grouped = flat[order]
    filling = np.arange(len(flat)) - room[grouped]  # if this one has the same key, it took the last room
    out = np.empty(len(flat), bool)
    out[order] = (filling < 0) | (grouped.take(filling, mode="clip") != grouped)
    within: Bools = np.asarray(out.reshape(keys.shape).all(axis=0))
    return within


@dataclass(frozen=True, slots=True)
class Caps:
    """Entries of one author, or of one publication."""

    block: int
    slate: int
    day: int
    """Over all slates of a UTC day."""


@dataclass(frozen=True, slots=True)
class InForce:
    """Which caps hold while a block is filled."""

    day: bool = True
    slate: bool = True
    publication: bool = True
    author: bool = True


class Limits:
    """The caps over n candidates, and what counts against them. Who has no author or publication is not capped by it."""

    def __init__(
        self, author: Integers, publication: Integers, caps: tuple[Caps, Caps], served: tuple[Integers, Integers]
    ) -> None:
        """`author`, `publication`: int32[n]; `caps` and `served` of both: the keys of what other slates answered today."""
        authors, publications = np.unique(author), np.unique(publication)
        at = np.searchsorted(authors, author), np.searchsorted(publications, publication) + len(authors)
        self.keys = np.stack(at).astype(np.int16)  # sorted quickly; a few thousand candidates have few enough
        """int16[2, n]: of the author, of the publication."""
        self._is_author = np.arange(len(authors) + len(publications)) < len(authors)
        self._absent = np.concatenate((authors, publications)) < 0
        block, slate, day = (
            np.where(self._absent, MANY, np.where(self._is_author, *pair))
            for pair in zip(*((c.block, c.slate, c.day) for c in caps), strict=True)
        )
        today = np.concatenate((_counted(authors, served[0]), _counted(publications, served[1])))
        self._block, self._slate, self._day = block, slate, day - today  # the latter two: what is left of them

    def room(self, here: Integers, caps: InForce) -> Integers:
        """int[keys]: how many more there may be in a block that holds the candidates at `here` so far."""
        if caps.publication and caps.author:
            room = self._block
        else:
            room = np.where(np.where(self._is_author, caps.author, caps.publication), self._block, MANY)
        if caps.slate:
            room = np.minimum(room, self._slate)
        if caps.day:
            room = np.minimum(room, self._day)
        return np.maximum(less(room, self.keys[:, here]), 0)

    def finish(self, here: Integers) -> None:
        """A block holds those at `here`."""
        self._slate = less(self._slate, self.keys[:, here])
        self._day = less(self._day, self.keys[:, here])


def _counted(distinct: Integers, keys: Integers) -> Integers:
    """How often each of the ascending `distinct` is among `keys`."""
    ascending = np.sort(keys)
    return np.searchsorted(ascending, distinct, "right") - np.searchsorted(ascending, distinct, "left")
