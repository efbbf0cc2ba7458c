"""What was answered several times and not opened sinks, and comes up again as time passes.

    score − strength · spread · max(0, Σ 0.5^(age / half-life) − 1)

The sum is over the slates of the user's served history that held the story; one fresh showing is free. `spread` is the
distance between the quartiles of the list's scores, so that the strength means the same for every ranker. A formula of
this project: impression discounting as in Lee et al., "Modeling impression discounting" (KDD 2014), whose finding is that
interest falls with the number of showings and recovers with time since the last.
"""

from __future__ import annotations

import numpy as np

from features.arrays import F64
from features.times import HOUR_US
from online.columns import Candidates
from online.context import Context
from online.selection import finite
from online.slates.slate import ORGANIC

FREE = 1.0
"""Weight of showings without a penalty: one that was just now."""


class DiscountImpressions:
    """Lowers the scores of stories shown without being opened and sorts anew; equal scores keep their order."""

    name = "discount_impressions"

    def apply(self, ctx: Context, ranked: Candidates) -> Candidates:
        """All candidates, with the lowered scores; promoted ones keep theirs, because slots do not depend on it."""
        excess = np.maximum(unopened_weight(ctx, ranked) - FREE, 0)
        if "promotion" in ranked.columns:
            excess[ranked.columns["promotion"] != ORGANIC] = 0
        if not excess.any():
            return ranked
        score = ranked.columns["score"].astype(np.float64)
        upper, lower = np.quantile(score, (0.75, 0.25))
        lowered = score - ctx.settings.postprocess.impression_discount * ((upper - lower) or 1.0) * excess
        columns = {**ranked.columns, "score": finite(lowered.clip(*_RANGE).astype(np.float32))}
        sunk = Candidates(ranked.rows, ranked.sources, columns)
        after = sunk.take(np.argsort(-columns["score"], kind="stable"))
        ctx.trace.displaced(self.name, ranked, after, (excess > 0).astype(np.uint8), ("", "discount_impressions"))
        return after


_RANGE = float(np.finfo(np.float32).min), float(np.finfo(np.float32).max)


def unopened_weight(ctx: Context, ranked: Candidates) -> F64:
    """float64[n]: Σ 0.5^(age / half-life) over the slates that showed the story; 0 for one that was opened or read."""
    served, story_table = ctx.build_inputs.served, ctx.story_table
    if not len(served.stories):
        return np.zeros(len(ranked))
    rows = story_table.by_hash.find(served.stories)
    age_us = np.maximum(ctx.now_us - served.served_us, 0)
    weight = 0.5 ** (age_us / (ctx.settings.postprocess.impression_half_life_h * HOUR_US))
    total = np.zeros(len(story_table))
    np.add.at(total, rows[rows >= 0], weight[rows >= 0])
    state = ctx.user.state
    taken_up = np.concatenate((state.stories("open"), state.stories("read"), state.profile["read"]))
    total[story_table.by_hash.known(taken_up)] = 0
    out: F64 = total[ranked.rows]
    return out
