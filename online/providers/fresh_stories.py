"""Stories published in the last days, whoever wrote them."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from online.context import Context

DAY_US = 86_400_000_000


class FreshStories:
    """Everything inside the fresh window: rows are in order of publication, so this is one slice."""

    name: ClassVar[str] = "fresh_stories"
    reason: ClassVar[str] = "Just published"

    def rows(self, ctx: Context) -> slice:
        """From the first row inside the window to the last row not in the future."""
        oldest = ctx.now_us - int(ctx.settings.fresh_window_d * DAY_US)
        first, end = np.searchsorted(ctx.world.published_at, [oldest, ctx.now_us + 1])
        return slice(int(first), int(end))
