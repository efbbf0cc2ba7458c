"""Stories of publications that the user follows."""

from __future__ import annotations

from typing import ClassVar

from online.columns import Rows
from online.context import Context


class FollowedPublications:
    """All stories of every followed publication."""

    name: ClassVar[str] = "followed_publications"
    reason: ClassVar[str] = "From {publication}, which you follow"

    def rows(self, ctx: Context) -> Rows:
        """int32[m]: rows in the snapshot of the followed publications."""
        return ctx.story_table.rows_by_publication.of(ctx.user.targets("follow", "publication"))
