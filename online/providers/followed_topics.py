"""Stories of topics that the user follows."""

from __future__ import annotations

from features.arrays import Bools
from online.columns import Candidates, Rows
from online.context import Context
from online.protocols import Provider
from online.user.user import User


class FollowedTopics(Provider):
    """All stories of every followed topic."""

    name = "followed_topics"
    reason = "About {topic}, which you follow"
    group = "topics"

    def rows(self, ctx: Context) -> Rows:
        """int32[m]: rows in the snapshot of the followed topics."""
        return ctx.story_table.rows_by_topic.of(ctx.user.targets("follow", "topic"))

    def reason_for(self, user: User, row: int) -> str:
        """Names the first of the story's topics that is followed."""
        table, marks = user.story_table, user.marks("follow", "topic")
        followed = (int(topic) for topic in table.topics[row] if marks is not None and marks[topic] > 0)
        return self.reason.format(topic=next(map(table.topic_names.id, followed), None))

    def holds(self, ctx: Context, entries: Candidates) -> Bools:
        """bool[n]: one of the topics is followed."""
        return ctx.user.follows(entries, "topic")
