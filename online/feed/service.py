"""The feed service without HTTP: pins one story table and one user per request, and runs the pipeline."""

from __future__ import annotations

import time
from typing import Any

from features.errors import Unavailable
from online.components import Components
from online.feed.answering import Asked, answer, served_page
from online.feed.explaining import explanation
from online.feed.new_stories import new_count
from online.feed.preparing import FeedRequest, Prepared, Preparer
from online.feed.served_log import ServedLog
from online.feed.single_flight import POLL_S, Busy, SingleFlight
from online.feed.slate_builder import SlateBuilder
from online.metrics import Metrics
from online.slates.cursor import CursorCodec
from online.slates.slate import Slate


class FeedService:
    """`prepare` reads, `answer` answers from a slate, `build` makes one first. All may run in threads."""

    def __init__(
        self,
        components: Components,
        preparer: Preparer,
        builder: SlateBuilder,
        flights: SingleFlight,
        cursors: CursorCodec,
        served: ServedLog,
        metrics: Metrics,
    ) -> None:
        self.components = components
        self.polls = flights.polls
        self.prepare = preparer.prepare
        self.context = preparer.context
        self._builder = builder
        self._pipeline = builder.pipeline
        self._flights = flights
        self._cursors = cursors
        self._served = served
        self._metrics = metrics

    def feed(self, request: FeedRequest, now_us: int) -> dict[str, Any]:
        """One page, waiting in this thread while another builds for the same user; renews a stale slate before it returns.

        InvalidCursor, CursorExpired, Unavailable.
        """
        for _ in range(self.polls):
            prepared = self.prepare(request, now_us)
            try:
                page = self.answer(prepared) if prepared.slate else self.build(prepared)
            except Busy:
                time.sleep(POLL_S)
                continue
            if prepared.stale:
                self.renew(request, now_us)
            return page
        return self.build_anyway(request, now_us)

    def answer(self, prepared: Prepared) -> dict[str, Any]:
        """The page: from the slate at hand, else from a new one, whoever else may be building."""
        if prepared.slate is None:
            return self._page(prepared, self._builder.build(prepared.ctx))
        return self._page(prepared, prepared.slate)

    def build(self, prepared: Prepared) -> dict[str, Any]:
        """The page from a new slate. Busy when another builds for the user or has just done so: prepare again."""
        with self._flights.alone(prepared.ctx.user_id, prepared.ctx.surface, prepared.newest):
            slate = self._builder.build(prepared.ctx)
        return self._page(prepared, slate)

    def build_anyway(self, request: FeedRequest, now_us: int) -> dict[str, Any]:
        """The page for someone who has waited long enough."""
        try:
            return self.answer(self.prepare(request, now_us))
        except Busy as error:
            raise Unavailable(
                "the pagination session of this cursor is being continued elsewhere; try again"
            ) from error

    def renew(self, request: FeedRequest, now_us: int) -> None:
        """Builds the next slate in place of a stale one, unless someone else does or has done so."""
        prepared = self.prepare(request, now_us)
        if prepared.slate is not None and not prepared.stale:
            return
        try:
            with self._flights.alone(request.user_id, request.surface, prepared.newest):
                self._builder.build(prepared.ctx)
        except Busy:
            return
        self._metrics.observe_stages(prepared.ctx.trace)

    def explain(
        self,
        user_id: str,
        now_us: int,
        story_id: str | None = None,
        surface: str = "home",
        hint: tuple[int, ...] = (),
    ) -> dict[str, Any]:
        """The funnel of a fresh ranking, and the path of one story through it. Writes nothing."""
        ctx, _ = self.context(user_id, now_us, surface, None, hint)
        if story_id is not None:
            row = ctx.story_table.row(story_id)
            ctx.trace.watched_row = row if row >= 0 else None
        slate = self._builder.rehearse(ctx)
        page = self._pipeline.read(ctx, slate, 0, len(slate))
        ctx.trace.watch("validate", page.entries)
        return explanation(ctx, self.components, slate, story_id)

    def _page(self, prepared: Prepared, slate: Slate) -> dict[str, Any]:
        ctx, cached = prepared.ctx, prepared.slate is not None
        newer = new_count(ctx, self.components, slate) if cached and not prepared.request.cursor else 0
        asked = Asked(ctx, slate, prepared.start, prepared.request.limit, prepared.delivered, cached, newer)
        page = self._pipeline.read(ctx, slate, asked.start, asked.limit)
        answered = answer(asked, page, self.components, self._cursors)
        self._served.note(served_page(asked, page, answered))
        self._metrics.observe_page(ctx.trace, cached=cached, stale=prepared.stale)
        return answered
