"""Stories of authors that the user follows."""

from __future__ import annotations

from features.arrays import Bools
from online.columns import Candidates, Rows
from online.context import Context
from online.protocols import Provider


class FollowedAuthors(Provider):
    """All stories of every followed author."""

    name = "followed_authors"
    reason = "From an author you follow"
    group = "followed"

    def rows(self, ctx: Context) -> Rows:
        """int32[m]: rows in the snapshot of the followed authors."""
        return ctx.story_table.rows_by_author.of(ctx.user.targets("follow", "author"))

    def holds(self, ctx: Context, entries: Candidates) -> Bools:
        """bool[n]: the author is followed."""
        return ctx.user.follows(entries, "author")
