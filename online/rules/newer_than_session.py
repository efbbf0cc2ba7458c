"""A pagination session that goes on with a new slate shows nothing that came after the session began."""

from __future__ import annotations

import numpy as np

from features.arrays import Bools
from features.times import FOREVER_US
from online.columns import Candidates
from online.context import Context
from online.protocols import next_of
from online.story_table.dates import newer_than


class NewerThanSession:
    """Stories above the pagination session's watermark, by (published_at, story_id). They show as `new_count` on a first page.

    The timeline's sequence number does not decide: a story that was pulled when the session began may have been pushed since.
    """

    name = "newer_than_session"

    def drops(self, ctx: Context, candidates: Candidates) -> Bools | None:
        """bool[n]; None: a pagination session begins here."""
        if ctx.pagination_session is None:
            return None
        mark = ctx.pagination_session.watermark
        newer = np.zeros(len(ctx.story_table), bool)
        newer[newer_than(ctx.story_table, mark.published_us, mark.story_id, ctx.now_us)] = True
        return candidates.of(newer)

    def until(self, ctx: Context, candidates: Candidates) -> int:
        """The next moment at which one of them is published."""
        if ctx.pagination_session is None:
            return FOREVER_US
        return next_of(candidates.of(ctx.story_table.published_at), ctx)
