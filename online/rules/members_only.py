"""Members-only stories are for members."""

from __future__ import annotations

from features.arrays import Bools
from online.columns import Candidates
from online.context import Context
from online.protocols import Timeless


class MembersOnly(Timeless):
    """Members-only stories, for users who are not members or not known to be."""

    name = "members_only"

    def drops(self, ctx: Context, candidates: Candidates) -> Bools | None:
        """bool[n]."""
        return None if ctx.user.is_member else candidates.of(ctx.story_table.members_only)
