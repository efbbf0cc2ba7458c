"""Stories of publications that the user follows."""

from __future__ import annotations

from features.arrays import Bools
from online.columns import Candidates, Rows
from online.context import Context
from online.protocols import Provider
from online.user.user import User


class FollowedPublications(Provider):
    """All stories of every followed publication."""

    name = "followed_publications"
    reason = "From {publication}, which you follow"
    group = "followed"

    def rows(self, ctx: Context) -> Rows:
        """int32[m]: rows in the snapshot of the followed publications."""
        return ctx.story_table.rows_by_publication.of(ctx.user.targets("follow", "publication"))

    def reason_for(self, user: User, row: int) -> str:
        """Names the publication."""
        table = user.story_table
        return self.reason.format(publication=table.publications.id(int(table.publication[row])))

    def holds(self, ctx: Context, entries: Candidates) -> Bools:
        """bool[n]: the publication is followed."""
        return ctx.user.follows(entries, "publication")
