"""Near-duplicates collapse into the best-ranked one."""

from __future__ import annotations

import numpy as np

from online.columns import Candidates
from online.context import Context


class NearDuplicate:
    """Keeps the first of every duplicate_key."""

    name = "near_duplicate"

    def apply(self, ctx: Context, ranked: Candidates) -> Candidates:
        """Same order, later near-duplicates left out."""
        _, first = np.unique(ranked.of(ctx.story_table.duplicate_key), return_index=True)
        return ranked if len(first) == len(ranked) else ranked.take(np.sort(first))
