"""The feed service without HTTP: pins one story table and one user per request, and runs the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from features.arrays import Bools
from features.errors import Unavailable
from online.columns import Rows
from online.components import Components
from online.context import Context
from online.feed.building import POLL_S, Busy, SlateBuilder
from online.feed.explaining import about, explanation
from online.feed.preparing import FeedRequest, Prepared, Preparer
from online.feed.presenting import items
from online.feed.served_log import ServedLog, ServedPage
from online.feed.workers import Here, Workers, finished
from online.metrics import Metrics
from online.slates.cursor import Cursor, CursorCodec
from online.slates.slate import Slate, identify
from online.story_table.dates import newer_than
from online.validators.page import Page


class FeedService:
    """Makes pages. All methods may be called from several threads; `here` is how those without an event loop wait."""

    def __init__(
        self,
        components: Components,
        preparer: Preparer,
        builder: SlateBuilder,
        cursors: CursorCodec,
        served: ServedLog,
        metrics: Metrics,
        here: Here,
    ) -> None:
        self.components = components
        self.prepare = preparer.prepare
        self._pinned = preparer.pinned
        self._builder = builder
        self._pipeline = builder.pipeline
        self._cursors = cursors
        self._served = served
        self._metrics = metrics
        self._here = here

    async def page(self, request: FeedRequest, now_us: Callable[[], int], workers: Workers) -> dict[str, Any]:
        """One page, as the API answers it: from the slate at hand, else from a new one that this request builds, or that another
        does while this one waits. The successor of a stale slate is put off.

        InvalidCursor, CursorExpired, Unavailable.
        """
        for attempt in range(self._builder.polls + 1):
            prepared = await self.prepare(request, now_us(), workers)
            if prepared.slate is not None:
                return await self._from_slate(prepared, prepared.slate, now_us, workers)
            try:
                # Who has waited long enough builds, whoever else may be building.
                return await workers.rank(self._build, prepared, attempt < self._builder.polls)
            except Busy:
                self._metrics.waits.inc(attempt == 0)
                await workers.pause(POLL_S)
        raise Unavailable("the pagination session of this cursor is being continued elsewhere; try again")

    def feed(self, request: FeedRequest, now_us: int) -> dict[str, Any]:
        """`page` for callers without an event loop, all of it in their thread."""
        return finished(self.page(request, lambda: now_us, self._here))

    def context(self, user_id: str, now_us: int, surface: str = "home", hint: tuple[int, ...] = ()) -> Context:
        """What is pinned for one request of one user, for callers without an event loop. Unavailable."""
        return finished(self._pinned(user_id, now_us, self._here, surface, hint=hint))[0]

    def explain(
        self,
        user_id: str,
        now_us: int,
        story_id: str | None = None,
        surface: str = "home",
        hint: tuple[int, ...] = (),
    ) -> dict[str, Any]:
        """The funnel of a fresh ranking, and the path of one story through it. Writes nothing."""
        ctx = self.context(user_id, now_us, surface, hint)
        row = -1 if story_id is None else ctx.story_table.row(story_id)
        ctx, slate = self._builder.rehearse(ctx, watched_row=row if row >= 0 else None)
        page = self._pipeline.read(ctx, slate, 0, len(slate))
        ctx.trace.watch("validate", page.entries)
        return explanation(ctx, slate, story_id)

    async def _from_slate(
        self, prepared: Prepared, slate: Slate, now_us: Callable[[], int], workers: Workers
    ) -> dict[str, Any]:
        """The page from a slate that was there. At once, on an event loop as well: a thread would take a sixth longer. What is
        newer than the slate goes through rules and providers, which may take longer."""
        request, newer = prepared.request, np.empty(0, np.int32)
        if not request.cursor:
            newer = _newer(prepared.ctx, slate)
        page = partial(self._page, prepared, prepared.ctx, slate)
        answered = await workers.work(page, newer) if len(newer) else page(newer)
        if prepared.stale:
            await workers.later((request.user_id, request.surface), self._renew, request, now_us())
        return answered

    def _build(self, prepared: Prepared, alone: bool) -> dict[str, Any]:
        """The page from a new slate. Busy when another builds for the user or has just done so: prepare again."""
        built = self._builder.build_alone(prepared) if alone else self._builder.build(prepared.ctx)
        return self._page(prepared, *built, np.empty(0, np.int32))

    def _renew(self, request: FeedRequest, now_us: int) -> None:
        """Builds the next slate in place of a stale one, unless someone else does or has done so."""
        prepared = finished(self.prepare(request, now_us, self._here))
        if prepared.slate is not None and not prepared.stale:
            return
        try:
            ctx, _ = self._builder.build_alone(prepared)
        except Busy:
            return
        self._metrics.observe_stages(ctx.trace)

    def _page(self, prepared: Prepared, ctx: Context, slate: Slate, newer: Rows) -> dict[str, Any]:
        """`ctx`: the one that the slate was just built in, else that of the request. `newer`: int32[m], newer than the slate."""
        request, start, cached = prepared.request, prepared.start, prepared.slate is not None
        new_count = self._pipeline.eligible(ctx, newer) if len(newer) else 0
        page = self._pipeline.read(ctx, slate, start, request.limit)
        answered = {
            "request_id": identify(slate.info.id, start, request.limit, ctx.now_us, ctx.pinned),
            "items": items(ctx, page.entries, prepared.delivered),
            "next_cursor": self._next_cursor(prepared, ctx, slate, page),
            "new_count": new_count,
            "story_position": ctx.story_table.position,
            "slate": about(slate, cached=cached),
            "degraded": list(dict.fromkeys((*slate.info.degraded, *ctx.trace.degraded))),
        }
        self._served.note(_served_page(prepared, ctx, slate, page, answered))
        self._metrics.observe_page(ctx.trace, cached=cached, stale=prepared.stale)
        return answered

    def _next_cursor(self, prepared: Prepared, ctx: Context, slate: Slate, page: Page) -> str | None:
        """None at the end of the slate, and when the pagination session has consumed as much as is remembered of one."""
        if page.next_index is None:
            return None
        if slate.info.consumed_before + page.next_index >= ctx.settings.cache.pagination_session_cap:
            return None
        delivered = prepared.delivered + len(page.entries)
        after = Cursor(slate.info.id, page.next_index, delivered, ctx.surface, slate.watermark)
        return self._cursors.encode(after, ctx.user_id)


def _served_page(prepared: Prepared, ctx: Context, slate: Slate, page: Page, answered: dict[str, Any]) -> ServedPage:
    """What the log keeps of an answered page. Propensities are those of the slate as it was built, whatever has dropped since."""
    shown = answered["items"]
    index = page.entries.columns["index"]
    promoted: Bools = np.array([item["promoted"] for item in shown], bool)
    return ServedPage(
        request_id=answered["request_id"],
        user_id=ctx.user_id,
        slate=slate.info.id,
        snapshot=ctx.story_table.version,
        model=slate.info.model,
        served_us=ctx.now_us,
        first_position=prepared.delivered,
        story_ids=[item["story_id"] for item in shown],
        stories=slate.stories[index],
        sources=[item["sources"][0] for item in shown],
        promoted=promoted,
        scores=page.entries.columns["score"],
        propensities=slate.propensities[index].astype(np.float64) if len(slate.propensities) else np.ones(len(shown)),
        features=slate.features[index] if len(slate.features) else None,
    )


def _newer(ctx: Context, slate: Slate) -> Rows:
    """int32[m]: stories above the slate's watermark that it does not hold already (one may have been given a later date since)."""
    mark = slate.watermark
    rows = newer_than(ctx.story_table, mark.published_us, mark.story_id, ctx.now_us)
    return rows[~np.isin(ctx.story_table.hashes.take(rows), slate.stories)] if len(rows) else rows
