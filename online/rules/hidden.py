"""What the user has hidden stays hidden."""

from __future__ import annotations

from features.arrays import Bools
from online.columns import Candidates
from online.context import Context
from online.protocols import Timeless


class Hidden(Timeless):
    """Hides before and after the snapshot that were not taken back, of the story or of a near-duplicate."""

    name = "hidden"

    def drops(self, ctx: Context, candidates: Candidates) -> Bools | None:
        """bool[n]."""
        return ctx.user.refused("hide", candidates)
