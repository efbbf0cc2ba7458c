"""What the reader's own history says of a story: taste, similarity to the latest reads, shown in vain before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from features.formulas import scatter_max, times_seen
from online.columns import Candidates, Floats, Rows
from online.context import Context


class History:
    """Reads since the snapshot count for similarity; vectors and impressions are the snapshot's."""

    name: ClassVar[str] = "history"
    features: ClassVar[tuple[str, ...]] = ("taste", "similarity", "times_seen")

    def columns(self, ctx: Context, candidates: Candidates) -> Mapping[str, Floats]:
        """float32[n] each."""
        return {
            "taste": ctx.taste_of(candidates),
            "similarity": candidates.spread(*self._similarity(ctx)),
            "times_seen": candidates.spread(*self._times_seen(ctx)),
        }

    def _similarity(self, ctx: Context) -> tuple[Rows, Floats]:
        """int32[m] neighbours of the latest reads, each once, and float32[m]: to which read it is most similar, how much."""
        read = ctx.person.recent_reads[: ctx.settings.recent_reads]
        rows, values = ctx.world.similar[read].ravel(), ctx.world.similarity[read].ravel()
        neighbours, at = np.unique(ctx.world.current(rows[rows >= 0]), return_inverse=True)
        return neighbours, scatter_max(len(neighbours), at.astype(np.int32), values[rows >= 0])

    def _times_seen(self, ctx: Context) -> tuple[Rows, Floats]:
        profile = ctx.person.state.profile
        rows = ctx.world.by_hash.find(profile["seen"])
        return rows[rows >= 0], times_seen(profile["seen_times"][rows >= 0])
