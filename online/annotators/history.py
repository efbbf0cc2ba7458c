"""What the user's own history says of a story: ALS score, similarity to the latest reads, shown without being opened before."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from features.arrays import F32
from features.formulas import RECENT_READS, read_gap_h, scatter_max, scatter_sum, unopened_impressions, user_reads
from online.columns import Candidates, Rows
from online.context import Context


class History:
    """Reads since the snapshot count for similarity; vectors and impressions are the snapshot's."""

    name = "history"
    features: tuple[str, ...] = (
        "als_score",
        "similarity",
        "co_reading",
        "user_reads",
        "read_gap_h",
        "unopened_impressions",
    )

    def columns(self, ctx: Context, candidates: Candidates) -> Mapping[str, F32]:
        """float32[n] each."""
        neighbours, nearest, together = self._similarity(ctx)
        many = user_reads(len(ctx.user.state.profile["read"]))
        columns = {
            "als_score": ctx.als_score_of(candidates),
            "similarity": candidates.spread(neighbours, nearest),
            "co_reading": candidates.spread(neighbours, together),
            "user_reads": np.full(len(candidates), many, np.float32),
            "unopened_impressions": candidates.spread(*self._times_seen(ctx)),
        }
        if "read_gap_h" in ctx.wanted:
            read_at = np.sort(ctx.user.state.profile["read_at"])
            columns["read_gap_h"] = read_gap_h(candidates.of(ctx.story_table.published_at), read_at)
        return columns

    def _similarity(self, ctx: Context) -> tuple[Rows, F32, F32]:
        """int32[m] neighbours of the latest reads, each once; float32[m] twice: similarity to the nearest of them, and to all."""
        read = ctx.user.recent_reads[:RECENT_READS]
        rows, values = ctx.story_table.similar[read].ravel(), ctx.story_table.similarity[read].ravel()
        neighbours, at = np.unique(ctx.story_table.current(rows[rows >= 0]), return_inverse=True)
        place, known = at.astype(np.int32), values[rows >= 0]
        return (
            neighbours,
            scatter_max(len(neighbours), place, known),
            scatter_sum(len(neighbours), place, known),
        )

    def _times_seen(self, ctx: Context) -> tuple[Rows, F32]:
        profile = ctx.user.state.profile
        rows = ctx.story_table.by_hash.find(profile["seen"])
        return rows[rows >= 0], unopened_impressions(profile["seen_times"][rows >= 0])
