"""The feed service without HTTP: pins one story table and one user per request, and runs the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from features.errors import Unavailable
from online.components import Components
from online.context import Context
from online.feed.answering import Asked, answer, served_page
from online.feed.explaining import explanation
from online.feed.new_stories import new_count
from online.feed.preparing import FeedRequest, Prepared, Preparer
from online.feed.served_log import ServedLog
from online.feed.single_flight import POLL_S, Busy, SingleFlight
from online.feed.slate_builder import SlateBuilder
from online.feed.workers import Here, Workers, finished
from online.metrics import Metrics
from online.slates.cursor import CursorCodec
from online.slates.slate import Slate


class FeedService:
    """Makes pages. `prepare`, `feed` and `explain` wait for Redis, and may run in several threads."""

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
        self.prepare = preparer.prepare
        self.context = preparer.context
        self._builder = builder
        self._pipeline = builder.pipeline
        self._flights = flights
        self._cursors = cursors
        self._served = served
        self._metrics = metrics

    async def page(self, request: FeedRequest, now_us: Callable[[], int], workers: Workers) -> dict[str, Any]:
        """One page, as the API answers it: from the slate at hand, else from a new one that this request builds, or that another
        does while this one waits. The successor of a stale slate is put off.

        InvalidCursor, CursorExpired, Unavailable.
        """
        for attempt in range(self._flights.polls):
            prepared, page = await workers.work(self._at_hand, request, now_us())
            if page is not None:
                if prepared.stale:
                    await workers.later((request.user_id, request.surface), self._renew, request, now_us())
                return page
            try:
                return await workers.rank(self._build, prepared)
            except Busy:
                self._metrics.waits.inc(attempt == 0)
                await workers.pause(POLL_S)
        return await workers.rank(self._build_anyway, request, now_us())

    def feed(self, request: FeedRequest, now_us: int) -> dict[str, Any]:
        """`page` for callers without an event loop, all of it in their thread."""
        return finished(self.page(request, lambda: now_us, Here()))

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
        row = -1 if story_id is None else ctx.story_table.row(story_id)
        ctx, slate = self._builder.rehearse(ctx, watched_row=row if row >= 0 else None)
        page = self._pipeline.read(ctx, slate, 0, len(slate))
        ctx.trace.watch("validate", page.entries)
        return explanation(ctx, slate, story_id)

    def _at_hand(self, request: FeedRequest, now_us: int) -> tuple[Prepared, dict[str, Any] | None]:
        """The request with what was read for it, and the page, if there is a slate to answer it from."""
        prepared = self.prepare(request, now_us)
        return prepared, None if prepared.slate is None else self._page(prepared, prepared.ctx, prepared.slate)

    def _build(self, prepared: Prepared) -> dict[str, Any]:
        """The page from a new slate. Busy when another builds for the user or has just done so: prepare again."""
        with self._flights.alone(prepared.ctx.user_id, prepared.ctx.surface, prepared.newest):
            built = self._builder.build(prepared.ctx)
        return self._page(prepared, *built)

    def _build_anyway(self, request: FeedRequest, now_us: int) -> dict[str, Any]:
        """The page for someone who has waited long enough, whoever else may be building."""
        prepared, page = self._at_hand(request, now_us)
        try:
            return page or self._page(prepared, *self._builder.build(prepared.ctx))
        except Busy as error:
            raise Unavailable(
                "the pagination session of this cursor is being continued elsewhere; try again"
            ) from error

    def _renew(self, request: FeedRequest, now_us: int) -> None:
        """Builds the next slate in place of a stale one, unless someone else does or has done so."""
        prepared = self.prepare(request, now_us)
        if prepared.slate is not None and not prepared.stale:
            return
        try:
            with self._flights.alone(request.user_id, request.surface, prepared.newest):
                ctx, _ = self._builder.build(prepared.ctx)
        except Busy:
            return
        self._metrics.observe_stages(ctx.trace)

    def _page(self, prepared: Prepared, ctx: Context, slate: Slate) -> dict[str, Any]:
        """`ctx`: the one that the slate was just built in, else that of the request."""
        request, cached = prepared.request, prepared.slate is not None
        newer = new_count(ctx, self.components, slate) if cached and not request.cursor else 0
        asked = Asked(ctx, slate, prepared.start, request.limit, prepared.delivered, cached, newer)
        page = self._pipeline.read(ctx, slate, asked.start, asked.limit)
        answered = answer(asked, page, self._cursors)
        self._served.note(served_page(asked, page, answered))
        self._metrics.observe_page(ctx.trace, cached=cached, stale=prepared.stale)
        return answered
