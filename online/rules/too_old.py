"""Old stories are not news."""

from __future__ import annotations

import numpy as np

from features.arrays import Bools
from features.times import DAY_US, UNDATED
from online.columns import Candidates
from online.context import Context
from online.protocols import next_of


class TooOld:
    """Stories published more than max_age_d ago, and those dated in the future; undated ones have no age."""

    name = "too_old"

    def drops(self, ctx: Context, candidates: Candidates) -> Bools | None:
        """bool[n]."""
        published_at = candidates.of(ctx.story_table.published_at)
        oldest = ctx.now_us - _max_age_us(ctx)
        return ((published_at < oldest) & (published_at != UNDATED)) | (published_at > ctx.now_us)

    def until(self, ctx: Context, candidates: Candidates) -> int:
        """The next moment at which one of them is published, or is too old."""
        published_at = candidates.of(ctx.story_table.published_at)
        return next_of(np.concatenate((published_at, published_at + _max_age_us(ctx) + 1)), ctx)


def _max_age_us(ctx: Context) -> int:
    """`max_age_d` in whole microseconds."""
    return int(ctx.settings.preprocess.max_age_d * DAY_US)
