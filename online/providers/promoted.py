"""Stories that are promoted now. They go the way of all candidates, so that every rule holds for them too."""

from __future__ import annotations

from online.columns import Rows
from online.context import Context
from online.protocols import Provider


class Promoted(Provider):
    """Stories of running promotions, caps left aside; online/postprocessors/promoted.py decides which get a slot."""

    name = "promoted"
    reason = "Promoted"
    takes_slots = True

    def rows(self, ctx: Context) -> Rows:
        """int32[m]."""
        promotions = ctx.story_table.promotions
        return ctx.story_table.current(promotions.rows[promotions.running(ctx.now_us)])
