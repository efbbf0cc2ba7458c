"""Stories published in the last days, whoever wrote them."""

from __future__ import annotations

import numpy as np

from features.times import DAY_US
from online.columns import Rows
from online.context import Context
from online.protocols import Provider
from online.story_table.dates import dated


class FreshStories(Provider):
    """Everything inside the fresh window."""

    name = "fresh_stories"
    reason = "Just published"

    def rows(self, ctx: Context) -> Rows | slice:
        """int32[m] or a slice: the rows dated inside the window and not in the future."""
        oldest = ctx.now_us - int(ctx.settings.aggregate.fresh_window_d * DAY_US)
        known, behind = dated(ctx.story_table, oldest, ctx.now_us)
        if not len(behind):
            return known
        if known.stop == behind[0] and len(behind) == len(ctx.story_table) - known.stop:
            return slice(known.start, len(ctx.story_table))
        return np.concatenate((np.arange(known.start, known.stop, dtype=np.int32), behind))
