"""Stories similar to what the user has just read."""

from __future__ import annotations

from typing import ClassVar

from online.columns import Rows
from online.context import Context


class SimilarToRead:
    """The neighbours of the latest reads."""

    name: ClassVar[str] = "similar_to_read"
    reason: ClassVar[str] = "Similar to stories you have just read"

    def rows(self, ctx: Context) -> Rows:
        """int32[≤ recent_reads · SIMILAR_KEPT]."""
        neighbours = ctx.story_table.similar[ctx.user.recent_reads[: ctx.settings.aggregate.recent_reads]].ravel()
        return ctx.story_table.current(neighbours[neighbours >= 0])
