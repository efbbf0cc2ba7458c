"""What the user has read is not shown again."""

from __future__ import annotations

from features.arrays import Bools
from online.columns import Candidates
from online.context import Context
from online.protocols import Timeless


class AlreadyRead(Timeless):
    """Reads before and after the snapshot, of the story or of a near-duplicate."""

    name = "already_read"

    def drops(self, ctx: Context, candidates: Candidates) -> Bools | None:
        """bool[n]."""
        return ctx.user.read_before(candidates)
