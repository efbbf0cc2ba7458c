"""Stories that users with a reading history like the user's have read."""

from __future__ import annotations

import numpy as np

from online.columns import Rows
from online.context import Context
from online.protocols import Provider
from online.selection import best


class ReadingHistory(Provider):
    """The stories with the greatest products of ALS vectors."""

    name = "reading_history"
    reason = "Read by users with a history like yours"
    group = "history"

    def rows(self, ctx: Context) -> Rows:
        """int32[≤ history_stories]: positive products only; none for a user without a vector."""
        if not ctx.user.vector.any():
            return np.empty(0, np.int32)
        every = np.arange(len(ctx.als_score), dtype=np.int32)
        rows = best(ctx.als_score, every, ctx.settings.aggregate.history_stories, ctx.story_table.published_at)
        return rows[ctx.als_score[rows] > 0]
