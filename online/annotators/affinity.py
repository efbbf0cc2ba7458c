"""What the user has to do with a story's author, publication and topics: affinities and follows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from features.arrays import F32
from features.formulas import exact_sum, gather, gather_mean
from features.snapshot import AFFINITIES, SUPPORT
from online.columns import Candidates
from online.context import Context


class Affinity:
    """Affinities learned from behaviour, and follows as they are now."""

    name = "affinity"
    features = (
        "author_affinity",
        "publication_affinity",
        *(f"topic_{name}" for name in AFFINITIES["topic"]),
        *(f"user_{name}" for name in SUPPORT),
        "follows_author",
        "follows_publication",
        "follows_topics",
    )

    def columns(self, ctx: Context, candidates: Candidates) -> Mapping[str, F32]:
        """float32[n] each."""
        story_table, user = ctx.story_table, ctx.user
        topics = candidates.of(story_table.topics)
        columns = {
            f"topic_{kind}": gather_mean(user.affinity("topic", kind)[:-1], topics) for kind in AFFINITIES["topic"]
        }
        for kind in SUPPORT:
            of_all = exact_sum(user.state.profile[f"topic_{kind}"])
            columns[f"user_{kind}"] = np.full(len(candidates), of_all, np.float32)
        for target_type, index in (("author", story_table.author), ("publication", story_table.publication)):
            at = candidates.of(index)
            columns[f"{target_type}_affinity"] = gather(user.affinity(target_type), at)
            columns[f"follows_{target_type}"] = self._follows(ctx, target_type, at)
        marks = user.marks("follow", "topic")
        columns["follows_topics"] = (
            np.zeros(len(candidates), np.float32) if marks is None else gather_mean(marks[:-1], topics)
        )
        return columns

    def _follows(self, ctx: Context, target_type: str, at: np.ndarray) -> F32:
        marks = ctx.user.marks("follow", target_type)
        return np.zeros(len(at), np.float32) if marks is None else gather(marks, at)
