"""What the user has reported is not shown to them again."""

from __future__ import annotations

from features.arrays import Bools
from online.columns import Candidates
from online.context import Context
from online.protocols import Timeless


class Reported(Timeless):
    """Reports before and after the snapshot that were not taken back, of the story or of a near-duplicate."""

    name = "reported"

    def drops(self, ctx: Context, candidates: Candidates) -> Bools | None:
        """bool[n]."""
        return ctx.user.refused("report", candidates)
