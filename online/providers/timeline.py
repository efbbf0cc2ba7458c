"""The user's timeline: what was pushed to it, and the stories of followed targets that are pulled."""

from __future__ import annotations

from typing import ClassVar

from online.columns import Rows
from online.context import Context
from online.timelines.reading import read_timeline


class Timeline:
    """The newest stories of followed authors and publications by (published_at, story_id), pushed and pulled together."""

    name: ClassVar[str] = "timeline"
    reason: ClassVar[str] = "{followed}"

    def rows(self, ctx: Context) -> Rows:
        """int32[≤ timeline_length]; notes in `ctx` when the timeline is to be made anew."""
        found = read_timeline(ctx)
        ctx.timeline_due = found.due
        return found.rows
