"""Readers get stories in languages they read."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from features.snapshot import ABSENT
from online.columns import Bools, Candidates
from online.context import Context


class Language:
    """Stories in other languages; a story of unknown language passes, and so does all for a reader of unknown languages."""

    name: ClassVar[str] = "language"

    def drops(self, ctx: Context, candidates: Candidates) -> Bools | None:
        """bool[n]."""
        if not len(ctx.person.languages):
            return None
        foreign = np.ones(len(ctx.world.languages) + 1, bool)
        foreign[ctx.person.languages[ctx.person.languages >= 0]] = False
        foreign[ABSENT] = False
        return foreign.take(candidates.of(ctx.world.language))
