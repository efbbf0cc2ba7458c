"""Duplicate keys that stories had before: what a user has refused stays refused when its title changes or it is withdrawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.arrays import Hashes


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
