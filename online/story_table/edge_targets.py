"""Ids of what users follow, mute or block although no story names it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from features.arrays import Hashes


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
