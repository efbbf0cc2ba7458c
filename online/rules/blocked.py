"""A block acts both ways: nothing from what the user has blocked, and nothing from authors who have blocked the user."""

from __future__ import annotations

from features.arrays import Bools
from features.choices import BLOCKED_BY
from online.columns import Candidates
from online.context import Context
from online.protocols import Timeless


class Blocked(Timeless):
    """Stories of a blocked author or publication, or with a blocked topic; and of authors who have blocked the user."""

    name = "blocked"

    def drops(self, ctx: Context, candidates: Candidates) -> Bools | None:
        """bool[n]."""
        mine = ctx.user.touched(candidates, "block")
        marks = ctx.user.marks(BLOCKED_BY, "author")
        if marks is None:
            return mine
        theirs: Bools = marks.take(candidates.of(ctx.story_table.author)) > 0
        return theirs if mine is None else mine | theirs
