"""Stories of topics that the user follows."""

from __future__ import annotations

from typing import ClassVar

from online.columns import Rows
from online.context import Context


class FollowedTopics:
    """All stories of every followed topic."""

    name: ClassVar[str] = "followed_topics"
    reason: ClassVar[str] = "About {topic}, which you follow"

    def rows(self, ctx: Context) -> Rows:
        """int32[m]: rows in the snapshot of the followed topics."""
        return ctx.story_table.rows_by_topic.of(ctx.user.targets("follow", "topic"))
