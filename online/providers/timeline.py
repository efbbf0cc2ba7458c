"""The user's timeline: what was pushed to it, and the stories of followed targets that are pulled."""

from __future__ import annotations

from features.arrays import Bools
from online.columns import Candidates
from online.context import Context
from online.protocols import Found, Provider
from online.providers.followed_authors import FollowedAuthors
from online.providers.followed_publications import FollowedPublications
from online.timelines.reading import read_timeline
from online.user.user import User


class TimelineStories(Provider):
    """The newest stories of followed authors and publications by (published_at, story_id), pushed and pulled together."""

    name = "timeline"
    reason = f"{FollowedAuthors.reason}; {FollowedPublications.reason}"
    group = "followed"

    def rows(self, ctx: Context) -> Found:
        """int32[≤ timeline_length], and why the timeline must be rebuilt."""
        return read_timeline(ctx)

    def reason_for(self, user: User, row: int) -> str:
        """That of the author, where the user follows them, else that of the publication."""
        marks = user.marks("follow", "author")
        by_author = marks is not None and marks[user.story_table.author[row]] > 0
        return (FollowedAuthors if by_author else FollowedPublications)().reason_for(user, row)

    def holds(self, ctx: Context, entries: Candidates) -> Bools:
        """bool[n]: the author or the publication is followed."""
        return ctx.user.follows(entries, "author", "publication")
