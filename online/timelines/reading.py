"""What a user gets of a timeline: the same stories, whether they were pushed or are pulled now."""

from __future__ import annotations

import numpy as np

from online.columns import Rows
from online.context import Context
from online.protocols import Found
from online.timelines.newest import deliverable, newest, rows_of
from online.timelines.targets import Follows, follows_of
from online.timelines.timeline import Timeline

DAY_S = 86_400
"""A timeline that is read is prolonged once a day."""


def read_timeline(ctx: Context) -> Found:
    """The newest stories over followed authors and publications, and why the timeline must be rebuilt. Exact in every case: what the timeline cannot be trusted to hold is pulled instead."""
    reading, follows = ctx.build_inputs, follows_of(ctx.user.state)
    timeline = reading.timeline
    if timeline is None:
        return _all_pulled(ctx, follows, "returning")
    if timeline.snapshot != ctx.story_table.version:
        return _all_pulled(ctx, follows, "new_snapshot")
    if timeline.follows != follows.digest() or reading.pulled.version != reading.pulled_version:
        return _all_pulled(ctx, follows, "")  # something has just changed, and the timeline is about to
    listed = ctx.story_table.by_hash.known(timeline.stories)
    pushed = deliverable(ctx.story_table, reading.pulled.pushed(follows), listed, ctx.now_us)
    pulled = _pulled(ctx, reading.pulled.of(follows))
    rows = newest(ctx.story_table, np.union1d(pushed, pulled), ctx.settings.timelines.length)
    if not _complete(ctx, timeline, rows):
        return _all_pulled(ctx, follows, "incomplete")
    return Found(rows, "prolong" if timeline.ttl_s < ctx.settings.timelines.ttl_s - DAY_S else "")


def _pulled(ctx: Context, follows: Follows) -> Rows:
    return newest(ctx.story_table, rows_of(ctx.story_table, follows, ctx.now_us), ctx.settings.timelines.length)


def _all_pulled(ctx: Context, follows: Follows, due: str) -> Found:
    return Found(_pulled(ctx, follows), due)


def _complete(ctx: Context, timeline: Timeline, rows: Rows) -> bool:
    """Whether nothing that the timeline lacks could be among `rows`, newest first: all of them are newer than its floor."""
    if timeline.floor is None:
        return True
    if len(rows) < ctx.settings.timelines.length:
        return False
    oldest = int(rows[-1])
    return (int(ctx.story_table.published_at[oldest]), ctx.story_table.story_id(oldest)) > timeline.floor
