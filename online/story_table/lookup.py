"""Finding rows by hash and by group, and ids and former duplicate keys by hash. What grows takes small additions without sorting anew."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

from features.arrays import I32, Bools, Hashes
from features.compiled import compiled
from online.columns import Rows

_PER_BUCKET = 4
"""Hashes to a bucket, about: so few that what is looked for is found within one or two reads of memory."""


class HashIndex:
    """Finds positions of 64-bit hashes in bulk. Immutable."""

    def __init__(self, hashes: Hashes) -> None:
        self._order = np.argsort(hashes, kind="stable").astype(np.int32)
        self._sorted = hashes[self._order]
        bits = max(len(hashes) // _PER_BUCKET, 1).bit_length()
        self._shift, self._half = 64 - bits, 1 << (bits - 1)
        edges = np.arange(-self._half, self._half, dtype=np.int64) << self._shift
        self._starts = np.append(np.searchsorted(self._sorted, edges), len(hashes))
        """int64[buckets + 1]: where the hashes of each bucket, that is with the same leading bits, begin."""
        self._added: Hashes = np.empty(0, np.int64)  # ascending, each once
        self._added_at: I32 = np.empty(0, np.int32)
        self.find(hashes[:1])  # compiles what is not, now rather than on a request

    def extended(self, hashes: Hashes, positions: I32) -> Self:
        """Like this one, with each of `hashes` found at its position; where a hash comes again, the last one counts."""
        order = np.argsort(hashes, kind="stable")
        hashes, positions = hashes[order], positions[order].astype(np.int32)
        last = np.append(hashes[1:] != hashes[:-1], True)[: len(hashes)]
        hashes, positions = hashes[last], positions[last]
        made = copy.copy(self)
        at = np.searchsorted(self._added, hashes)
        there = _find(self._added, np.arange(len(self._added), dtype=np.int32), hashes)
        made._added_at = self._added_at.copy()
        made._added_at[there[there >= 0]] = positions[there >= 0]
        made._added = np.insert(self._added, at[there < 0], hashes[there < 0])
        made._added_at = np.insert(made._added_at, at[there < 0], positions[there < 0])
        return made

    def find(self, wanted: Hashes) -> I32:
        """int64[m] → int32[m]: position of each hash, -1 where it is not known."""
        found = _in_buckets(
            self._sorted, self._order, self._starts, self._shift, self._half, np.array(wanted, np.int64)
        )
        if not len(self._added):
            return found
        added = _find(self._added, self._added_at, wanted)
        return np.where(added >= 0, added, found)

    def known(self, wanted: Hashes) -> I32:
        """Like `find`, without the unknown ones: int32[≤ m]."""
        found = self.find(wanted)
        return found[found >= 0]


@compiled
def _in_buckets(ascending: Hashes, positions: I32, starts: Hashes, shift: int, half: int, wanted: Hashes) -> I32:
    """int32[m]: a binary search for each hash in its bucket; -1 where it is not."""
    found = np.full(len(wanted), -1, np.int32)
    for i in range(len(wanted)):
        bucket = (wanted[i] >> shift) + half
        low, high = starts[bucket], starts[bucket + 1]
        while low < high:
            middle = (low + high) // 2
            if ascending[middle] < wanted[i]:
                low = middle + 1
            else:
                high = middle
        if low < starts[bucket + 1] and ascending[low] == wanted[i]:
            found[i] = positions[low]
    return found


def _find(ascending: Hashes, positions: I32, wanted: Hashes) -> I32:
    if not len(ascending) or not len(wanted):
        return np.full(len(wanted), -1, np.int32)
    at = np.minimum(np.searchsorted(ascending, wanted), len(ascending) - 1)
    return np.where(ascending[at] == wanted, positions[at], np.int32(-1))


def one_of(values: np.ndarray, some: np.ndarray) -> Bools:
    """bool[n]: which of n integers are among `some`. For arrays of hundreds a fifth of what np.isin takes."""
    if not len(some) or not len(values):
        return np.zeros(len(values), bool)
    ascending = np.sort(some)
    found: Bools = ascending[np.minimum(np.searchsorted(ascending, values), len(some) - 1)] == values
    return found


class Grouping:
    """Rows grouped by a key (-1: in no group); rows stay in ascending order within a group. Immutable."""

    def __init__(self, keys: I32, groups: int, rows: Rows | None = None) -> None:
        present = keys >= 0
        rows = np.flatnonzero(present).astype(np.int32) if rows is None else rows[present]
        keys = keys[present]
        self._groups = groups
        self._rows = rows[np.argsort(keys, kind="stable")]
        self._starts = np.concatenate(([0], np.cumsum(np.bincount(keys, minlength=groups)))).astype(np.int64)
        self._added: I32 = np.empty(0, np.int32)  # keys, ascending
        self._added_rows: Rows = np.empty(0, np.int32)

    def extended(self, keys: I32, rows: Rows) -> Self:
        """Like this one, with `rows`, all greater than those in it, in the groups `keys`, which may be new."""
        present = keys >= 0
        order = np.argsort(keys[present], kind="stable")
        keys, rows = keys[present][order], rows[present][order]
        at = np.searchsorted(self._added, keys, side="right")
        made = copy.copy(self)
        made._added = np.insert(self._added, at, keys)
        made._added_rows = np.insert(self._added_rows, at, rows)
        return made

    def of(self, groups: I32) -> Rows:
        """Rows of all the given groups, one group after the other, and then, likewise, those that were added later.

        A row in several groups repeats.
        """
        known = groups[groups < self._groups]
        rows = _spans(self._rows, self._starts[known], self._starts[known + 1])
        if not len(self._added):
            return rows
        first, end = (np.searchsorted(self._added, groups, side) for side in ("left", "right"))
        return np.concatenate((rows, _spans(self._added_rows, first, end)))


def _spans(rows: Rows, first: np.ndarray, end: np.ndarray) -> Rows:
    """rows[first[0]:end[0]], then rows[first[1]:end[1]] and so on, without a loop over them."""
    lengths = end - first
    ends = np.cumsum(lengths)
    shift = np.repeat(first - ends + lengths, lengths)
    return rows[shift + np.arange(len(shift))]


@dataclass(frozen=True, slots=True)
class EdgeTargets:
    """k ids by their hashes. Immutable."""

    hashes: Hashes
    """int64[k], ascending."""
    ids: pa.Array

    def id(self, target: int) -> str | None:
        """The id with this hash; None: it is not among them."""
        at = int(np.searchsorted(self.hashes, target))
        found: str | None = self.ids[at].as_py() if at < len(self.hashes) and self.hashes[at] == target else None
        return found


@dataclass(frozen=True, slots=True)
class FormerKeys:
    """f keys by the hashes of their stories. Immutable."""

    hashes: Hashes
    """int64[f], ascending; a story that had several keys is there as often."""
    keys: Hashes
    """int64[f]"""

    def of(self, stories: Hashes) -> Hashes:
        """int64[m]: every key that one of `stories` (hashes) had before, in no order."""
        if not len(self.hashes):
            return self.keys
        first, last = (np.searchsorted(self.hashes, stories, side) for side in ("left", "right"))
        had = np.flatnonzero(last > first)
        slices = [self.keys[first[i] : last[i]] for i in had]
        return np.concatenate(slices) if slices else np.empty(0, np.int64)

    def extended(self, hashes: Hashes, keys: Hashes) -> FormerKeys:
        """These and more."""
        at = np.searchsorted(self.hashes, hashes := np.asarray(hashes), "right")
        order = np.argsort(hashes, kind="stable")
        at, hashes, keys = at[order], hashes[order], keys[order]
        return FormerKeys(np.insert(self.hashes, at, hashes), np.insert(self.keys, at, keys))
