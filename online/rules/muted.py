"""Nothing from authors, publications or topics that the user has muted."""

from __future__ import annotations

from features.arrays import Bools
from online.columns import Candidates
from online.context import Context
from online.protocols import Timeless


class Muted(Timeless):
    """Stories of a muted author or publication, or with a muted topic."""

    name = "muted"

    def drops(self, ctx: Context, candidates: Candidates) -> Bools | None:
        """bool[n]."""
        return ctx.user.touched(candidates, "mute")
