"""Unlisted stories are in no feed; followers-only stories are for followers of the author."""

from __future__ import annotations

from features.arrays import Bools
from features.raw_datasets import VISIBILITIES
from online.columns import Candidates
from online.context import Context
from online.protocols import Timeless


class Visibility(Timeless):
    """Visibility as it is now, and follows as they are now."""

    name = "visibility"

    def drops(self, ctx: Context, candidates: Candidates) -> Bools | None:
        """bool[n]."""
        visibility = candidates.of(ctx.story_table.visibility)
        for_followers = visibility == VISIBILITIES.index("followers")
        follows = ctx.user.marks("follow", "author")
        if follows is not None:
            for_followers &= follows.take(candidates.of(ctx.story_table.author)) == 0
        return for_followers | (visibility == VISIBILITIES.index("unlisted"))
