"""From a page of a slate to the answer of the API, and to what the log of served pages keeps of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from features.arrays import Bools
from features.times import rfc3339_of
from online.context import Context
from online.feed.presenting import items
from online.feed.served_log import ServedPage
from online.slates.cursor import Cursor, CursorCodec
from online.slates.slate import Slate, identify
from online.validators.page import Page


@dataclass(frozen=True, slots=True)
class Asked:
    """What one call for a page came down to: this many entries of this slate, from here on."""

    ctx: Context
    slate: Slate
    start: int
    """Index in the slate."""
    limit: int
    delivered: int
    """Items that the pagination session has delivered before."""
    cached: bool
    """Whether the slate was there before the call."""
    new_count: int


def answer(asked: Asked, page: Page, cursors: CursorCodec) -> dict[str, Any]:
    """The page as the API answers it."""
    ctx, slate = asked.ctx, asked.slate
    after = _after(asked, page)
    return {
        "request_id": identify(slate.info.id, asked.start, asked.limit, ctx.now_us, ctx.pinned),
        "items": items(ctx, page.entries, asked.delivered),
        "next_cursor": None if after is None else cursors.encode(after, ctx.user_id),
        "new_count": asked.new_count,
        "story_position": ctx.story_table.position,
        "slate": about(slate, cached=asked.cached),
        "degraded": list(dict.fromkeys((*slate.info.degraded, *ctx.trace.degraded))),
    }


def _after(asked: Asked, page: Page) -> Cursor | None:
    """None at the end of the slate, and when the pagination session has consumed as much as is remembered of one."""
    if page.next_index is None:
        return None
    slate, ctx = asked.slate, asked.ctx
    if slate.info.consumed_before + page.next_index >= ctx.settings.cache.pagination_session_cap:
        return None
    delivered = asked.delivered + len(page.entries)
    return Cursor(slate.info.id, page.next_index, delivered, ctx.surface, slate.watermark)


def about(slate: Slate, *, cached: bool) -> dict[str, Any]:
    """What an answer says of the slate it was cut from."""
    info = slate.info
    return {
        "id": info.id,
        "built_at": rfc3339_of(info.built_at_us),
        "snapshot": info.snapshot,
        "model": info.model,
        "variant": info.variant,
        "cached": cached,
        "candidates": info.candidates,
    }


def served_page(asked: Asked, page: Page, answered: dict[str, Any]) -> ServedPage:
    """What the log keeps of an answered page. Propensities are those of the slate as it was built, whatever has dropped since."""
    ctx, slate, told = asked.ctx, asked.slate, answered["items"]
    index = page.entries.columns["index"]
    promoted: Bools = np.array([item["promoted"] for item in told], bool)
    return ServedPage(
        request_id=answered["request_id"],
        user_id=ctx.user_id,
        slate=slate.info.id,
        snapshot=ctx.story_table.version,
        model=slate.info.model,
        served_us=ctx.now_us,
        first_position=asked.delivered,
        story_ids=[item["story_id"] for item in told],
        stories=slate.stories[index],
        sources=[item["sources"][0] for item in told],
        promoted=promoted,
        scores=page.entries.columns["score"],
        propensities=slate.propensities[index].astype(np.float64) if len(slate.propensities) else np.ones(len(told)),
        features=slate.features[index] if len(slate.features) else None,
    )
