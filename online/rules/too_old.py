"""Old stories are not news."""

from __future__ import annotations

from typing import ClassVar

from features.arrays import Bools
from features.times import UNDATED
from online.columns import Candidates
from online.context import Context
from online.providers.fresh_stories import DAY_US


class TooOld:
    """Stories published more than max_age_d ago, and those dated in the future; undated ones have no age."""

    name: ClassVar[str] = "too_old"

    def drops(self, ctx: Context, candidates: Candidates) -> Bools | None:
        """bool[n]."""
        published_at = candidates.of(ctx.story_table.published_at)
        oldest = ctx.now_us - int(ctx.settings.preprocess.max_age_d * DAY_US)
        return ((published_at < oldest) & (published_at != UNDATED)) | (published_at > ctx.now_us)
