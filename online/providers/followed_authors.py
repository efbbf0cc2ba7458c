"""Stories of authors that the user follows."""

from __future__ import annotations

from typing import ClassVar

from online.columns import Rows
from online.context import Context


class FollowedAuthors:
    """All stories of every followed author."""

    name: ClassVar[str] = "followed_authors"
    reason: ClassVar[str] = "From an author you follow"

    def rows(self, ctx: Context) -> Rows:
        """int32[m]: rows in the snapshot of the followed authors."""
        return ctx.story_table.rows_by_author.of(ctx.user.targets("follow", "author"))
