"""Withdrawn stories disappear at once."""

from __future__ import annotations

from features.arrays import Bools
from online.columns import Candidates
from online.context import Context
from online.protocols import Timeless


class Withdrawn(Timeless):
    """Withdrawals since the snapshot; earlier ones are not in it."""

    name = "withdrawn"

    def drops(self, ctx: Context, candidates: Candidates) -> Bools | None:
        """bool[n]."""
        withdrawn = ctx.story_table.withdrawn
        return None if withdrawn is None else candidates.of(withdrawn)
