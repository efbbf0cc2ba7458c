"""Finding rows: by hash, and by group. Both grow by small additions, without sorting anew what is there."""

from __future__ import annotations

import copy
from typing import Self

import numpy as np

from online.columns import Hashes, Ints, Rows


class HashIndex:
    """Finds positions of 64-bit hashes in bulk. Immutable."""

    def __init__(self, hashes: Hashes) -> None:
        self._order = np.argsort(hashes, kind="stable").astype(np.int32)
        self._sorted = hashes[self._order]
        self._added: Hashes = np.empty(0, np.int64)  # ascending, each once
        self._added_at: Ints = np.empty(0, np.int32)

    def extended(self, hashes: Hashes, positions: Ints) -> Self:
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

    def find(self, wanted: Hashes) -> Ints:
        """int64[m] → int32[m]: position of each hash, -1 where it is not known."""
        found = _find(self._sorted, self._order, wanted)
        if not len(self._added):
            return found
        added = _find(self._added, self._added_at, wanted)
        return np.where(added >= 0, added, found)

    def known(self, wanted: Hashes) -> Ints:
        """Like `find`, without the unknown ones: int32[≤ m]."""
        found = self.find(wanted)
        return found[found >= 0]


def _find(ascending: Hashes, positions: Ints, wanted: Hashes) -> Ints:
    if not len(ascending) or not len(wanted):
        return np.full(len(wanted), -1, np.int32)
    at = np.minimum(np.searchsorted(ascending, wanted), len(ascending) - 1)
    return np.where(ascending[at] == wanted, positions[at], np.int32(-1))


class Grouping:
    """Rows grouped by a key (-1: in no group); rows stay in ascending order within a group. Immutable."""

    def __init__(self, keys: Ints, groups: int, rows: Rows | None = None) -> None:
        present = keys >= 0
        rows = np.flatnonzero(present).astype(np.int32) if rows is None else rows[present]
        keys = keys[present]
        self._groups = groups
        self._rows = rows[np.argsort(keys, kind="stable")]
        self._starts = np.concatenate(([0], np.cumsum(np.bincount(keys, minlength=groups)))).astype(np.int64)
        self._added: Ints = np.empty(0, np.int32)  # keys, ascending
        self._added_rows: Rows = np.empty(0, np.int32)

    def extended(self, keys: Ints, rows: Rows) -> Self:
        """Like this one, with `rows`, all greater than those in it, in the groups `keys`, which may be new."""
        present = keys >= 0
        order = np.argsort(keys[present], kind="stable")
        keys, rows = keys[present][order], rows[present][order]
        at = np.searchsorted(self._added, keys, side="right")
        made = copy.copy(self)
        made._added = np.insert(self._added, at, keys)
        made._added_rows = np.insert(self._added_rows, at, rows)
        return made

    def of(self, groups: Ints) -> Rows:
        """Rows of all the given groups, one group after the other; a row in several groups repeats."""
        if not len(groups):
            return np.empty(0, np.int32)
        return np.concatenate([part for group in groups.tolist() for part in self._parts(group)])

    def _parts(self, group: int) -> list[Rows]:
        parts = [self._rows[self._starts[group] : self._starts[group + 1]]] if group < self._groups else []
        if not len(self._added):
            return parts or [self._added_rows]
        first, end = np.searchsorted(self._added, (group, group + 1))
        return [*parts, self._added_rows[first:end]]
