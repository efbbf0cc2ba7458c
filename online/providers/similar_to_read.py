"""Stories similar to what the user has just read."""

from __future__ import annotations

from online.columns import Rows
from online.context import Context
from online.protocols import Provider


class SimilarToRead(Provider):
    """The neighbours of the latest reads."""

    name = "similar_to_read"
    reason = "Similar to stories you have just read"
    group = "history"

    def rows(self, ctx: Context) -> Rows:
        """int32[≤ recent_reads · SIMILAR_KEPT]."""
        neighbours = ctx.story_table.similar[ctx.user.recent_reads[: ctx.settings.aggregate.recent_reads]].ravel()
        return ctx.story_table.current(neighbours[neighbours >= 0])
