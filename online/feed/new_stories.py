"""How many stories a user's next slate could hold that are newer than the one at hand."""

from __future__ import annotations

import numpy as np

from features.arrays import Bools
from online.columns import Candidates, Rows
from online.components import Components
from online.context import Context
from online.protocols import Found
from online.slates.slate import Slate
from online.story_table.dates import newer_than


def new_count(ctx: Context, components: Components, slate: Slate) -> int:
    """Stories above the slate's watermark that a provider would bring now, no rule forbids, and the slate does not hold already
    (one may have been given a later date since)."""
    mark = slate.watermark
    rows = newer_than(ctx.story_table, mark.published_us, mark.story_id, ctx.now_us)
    rows = rows[~np.isin(ctx.story_table.hashes.take(rows), slate.stories)] if len(rows) else rows
    if not len(rows):
        return 0
    newer = Candidates(rows, np.ones(len(rows), np.uint32))
    for rule in components.rules:
        drops = rule.drops(ctx, newer)
        if drops is not None:
            newer = newer.take(~drops)
    return int(np.count_nonzero(_brought(ctx, components, newer.rows)))


def _brought(ctx: Context, components: Components, rows: Rows) -> Bools:
    """bool[m]: some provider of the surface brings the row. Asks the broadest first, which mostly settles it."""
    brought = np.zeros(len(rows), bool)
    chosen = ctx.settings.aggregate.surfaces.get(ctx.surface, tuple(components.bits))
    for provider in reversed(components.providers):
        if brought.all():
            break
        if provider.name not in chosen:
            continue
        try:
            found = provider.rows(ctx)
            if isinstance(found, Found):
                found = (
                    found.rows
                )  # without the inputs of a build a timeline is pulled, which is no reason to make it anew
            if isinstance(found, slice):
                brought |= (rows >= found.start) & (rows < found.stop)
            else:
                brought |= np.isin(rows, found)
        except Exception as error:  # noqa: BLE001 - enrichment fails open, and says so
            ctx.trace.degrade(provider.name, error)
    return brought
