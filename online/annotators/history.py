"""What the reader's own history says of a story: taste, similarity to the latest reads, shown in vain before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from features.formulas import scatter_max, times_seen
from online.columns import Candidates, Floats
from online.context import Context


class History:
    """Reads since the snapshot count for similarity; vectors and impressions are the snapshot's."""

    name: ClassVar[str] = "history"
    features: ClassVar[tuple[str, ...]] = ("taste", "similarity", "times_seen")

    def columns(self, ctx: Context, candidates: Candidates) -> Mapping[str, Floats]:
        """float32[n] each."""
        return {
            "taste": candidates.of(ctx.taste),
            "similarity": candidates.of(self._similarity(ctx)),
            "times_seen": candidates.of(self._times_seen(ctx)),
        }

    def _similarity(self, ctx: Context) -> Floats:
        read = ctx.person.recent_reads[: ctx.settings.recent_reads]
        rows, values = ctx.world.similar[read].ravel(), ctx.world.similarity[read].ravel()
        return scatter_max(len(ctx.world), rows[rows >= 0], values[rows >= 0])

    def _times_seen(self, ctx: Context) -> Floats:
        profile = ctx.person.state.profile
        at = ctx.world.by_hash.find(profile["seen"])
        out = np.zeros(len(ctx.world), np.float32)
        out[at[at >= 0]] = times_seen(profile["seen_times"][at >= 0])
        return out
