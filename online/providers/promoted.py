"""Stories that are promoted now. They go the way of all candidates, so that every rule holds for them too."""

from __future__ import annotations

from typing import ClassVar

from online.columns import Rows
from online.context import Context


class Promoted:
    """Stories of running promotions, caps left aside; online/postprocessors/promoted.py decides which get a slot."""

    name: ClassVar[str] = "promoted"
    reason: ClassVar[str] = "Promoted"

    def rows(self, ctx: Context) -> Rows:
        """int32[m]."""
        promotions = ctx.story_table.promotions
        return ctx.story_table.current(promotions.rows[promotions.running(ctx.now_us)])
