"""Users get stories in languages they read."""

from __future__ import annotations

from features.arrays import Bools
from online.columns import Candidates
from online.context import Context
from online.protocols import Timeless


class Language(Timeless):
    """Stories in other languages; a story of unknown language passes, and for a user whose languages are unknown every story does."""

    name = "language"

    def drops(self, ctx: Context, candidates: Candidates) -> Bools | None:
        """bool[n]."""
        read = ctx.user.reads
        return None if read is None else ~read.take(candidates.of(ctx.story_table.language))
