"""The user's timeline: what was pushed to it, and the stories of followed targets that are pulled."""

from __future__ import annotations

from typing import ClassVar

from online.context import Context
from online.protocols import Found
from online.timelines.reading import read_timeline


class TimelineStories:
    """The newest stories of followed authors and publications by (published_at, story_id), pushed and pulled together."""

    name: ClassVar[str] = "timeline"
    reason: ClassVar[str] = "{followed}"

    def rows(self, ctx: Context) -> Found:
        """int32[≤ timeline_length], and why the timeline is to be made anew."""
        return read_timeline(ctx)
