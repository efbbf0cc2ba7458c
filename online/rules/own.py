"""Nobody is recommended their own stories."""

from __future__ import annotations

from features.arrays import Bools
from online.columns import Candidates
from online.context import Context
from online.protocols import Timeless


class Own(Timeless):
    """Stories whose author is the user."""

    name = "own"

    def drops(self, ctx: Context, candidates: Candidates) -> Bools | None:
        """bool[n]."""
        return candidates.of(ctx.story_table.author) == ctx.user.own if ctx.user.own >= 0 else None
