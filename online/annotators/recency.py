"""How new a story is, now."""

from __future__ import annotations

from collections.abc import Mapping

from features.arrays import F32
from features.formulas import recency
from online.columns import Candidates
from online.context import Context


class Recency:
    """Computed online, because it changes by the minute."""

    name = "recency"
    features: tuple[str, ...] = ("recency",)

    def columns(self, ctx: Context, candidates: Candidates) -> Mapping[str, F32]:
        """float32[n]."""
        return {"recency": recency(ctx.age_hours(candidates))}
