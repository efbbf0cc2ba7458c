"""Features of the story, its author, its publication and its topics: gathered from the snapshot."""

from __future__ import annotations

from collections.abc import Mapping

from features.arrays import F32
from features.registry import FEATURES
from online.columns import Candidates
from online.context import Context


class StoryFeatures:
    """Everything in the registry that does not depend on the user."""

    name = "story"
    features = tuple(f.name for f in FEATURES if f.entity != "user_story")

    def columns(self, ctx: Context, candidates: Candidates) -> Mapping[str, F32]:
        """float32[n] each; only those that are wanted, because each is a pass over all candidates."""
        return {name: candidates.of(ctx.story_table.static[name]) for name in self.features if name in ctx.wanted}
