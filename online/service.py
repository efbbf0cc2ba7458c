"""The feed service without HTTP: pins one world and one person per request, and runs the pipeline."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from features.errors import Unavailable
from online.answering import Asked, about, answer, served_page
from online.chain import Chain, Kept, encode_chain, find_place
from online.clock import utc_day
from online.components import Components
from online.context import Context, StageReport
from online.cursor import Cursor, CursorCodec
from online.freshness import Freshness, freshness, ttl_s
from online.live import LiveSnapshot
from online.metrics import Metrics
from online.new_stories import new_count
from online.person import Person
from online.pipeline import Pipeline
from online.served_log import ServedLog
from online.settings import OnlineSettings
from online.single_flight import POLL_S, Busy, SingleFlight
from online.slate import Slate
from online.slate_making import features_wanted
from online.store import PersonStore, Reading, SlateEnds
from online.unchanged import AnsweredPages


@dataclass(frozen=True, slots=True)
class FeedRequest:
    """One call for one page."""

    user_id: str
    limit: int = 20
    cursor: str | None = None
    surface: str = "home"
    fresh: bool = False
    """Rank anew even when a slate is there."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request with everything pinned and read; `slate` None: one has to be built."""

    request: FeedRequest
    ctx: Context
    slate: Slate | None
    start: int = 0
    """Index in the slate."""
    delivered: int = 0
    """Items that the chain has delivered before."""
    stale: bool = False
    """Whether the next slate is to be built in the background."""
    newest: str | None = None
    """Id of the newest slate when this was read, empty: none; None: another slate in its place would not do."""


class FeedService:
    """`prepare` reads, `answer` answers from a slate, `build` makes one first. All may run in threads."""

    def __init__(
        self,
        live: LiveSnapshot,
        store: PersonStore,
        components: Components,
        settings: OnlineSettings,
        cursors: CursorCodec,
        flights: SingleFlight,
        served: ServedLog,
        metrics: Metrics,
    ) -> None:
        self.live = live
        self.settings = settings
        self.components = components
        self.polls = flights.polls
        self.answered = AnsweredPages(settings.pages_kept)
        self._store = store
        self._cursors = cursors
        self._flights = flights
        self._served = served
        self._metrics = metrics
        self._pipeline = Pipeline(components, self._write)

    def feed(self, request: FeedRequest, now_us: int) -> dict[str, Any]:
        """One page, waiting in this thread while another builds for the same person; renews a stale slate before it returns.

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

    def prepare(self, request: FeedRequest, now_us: int) -> Prepared:
        """Pins the world, reads the person and the slate: one round trip, more only when a cursor's slate has expired."""
        if request.cursor:
            return self._resumed(request, self._cursors.decode(request.cursor, request.user_id), now_us)
        ctx, reading = self.context(request.user_id, now_us, request.surface)
        kept = self._usable(reading.kept)
        if request.fresh:
            return Prepared(request, ctx, None)
        state = Freshness.USED_UP if kept.slate is None else freshness(ctx, self.components, kept.slate)
        if state is Freshness.USED_UP:
            return Prepared(request, ctx, None, newest=kept.slate_id)
        return Prepared(request, ctx, kept.slate, stale=state is Freshness.STALE, newest=kept.slate_id)

    def _resumed(self, request: FeedRequest, cursor: Cursor, now_us: int) -> Prepared:
        """The place in its chain to which a cursor points."""
        ctx, reading = self.context(request.user_id, now_us, cursor.surface, cursor.slate_id)

        def read(slate_id: str) -> Kept:
            return self._usable(self._store.read_kept(request.user_id, slate_id))

        kept = self._usable(reading.kept)
        if (
            kept.slate is not reading.kept.slate
        ):  # there, but of no use here: what its chain has passed was not read yet
            kept = read(cursor.slate_id)
        place = find_place(kept, cursor.index, read)
        if place.passed is not None:
            ctx.chain = Chain(place.slate_id, place.passed, cursor.watermark)
        return Prepared(request, ctx, place.slate, place.index, cursor.delivered)

    def answer(self, prepared: Prepared) -> dict[str, Any]:
        """The page: from the slate at hand, else from a new one, whoever else may be building."""
        if prepared.slate is None:
            return self._page(prepared, self._build(prepared.ctx))
        return self._page(prepared, prepared.slate)

    def build(self, prepared: Prepared) -> dict[str, Any]:
        """The page from a new slate. Busy when another builds for the person or has just done so: prepare again."""
        with self._flights.alone(prepared.ctx.user_id, prepared.ctx.surface, prepared.newest):
            slate = self._build(prepared.ctx)
        return self._page(prepared, slate)

    def build_anyway(self, request: FeedRequest, now_us: int) -> dict[str, Any]:
        """The page for someone who has waited long enough."""
        try:
            return self.answer(self.prepare(request, now_us))
        except Busy as error:
            raise Unavailable("the chain of this cursor is being continued elsewhere; try again") from error

    def renew(self, request: FeedRequest, now_us: int) -> None:
        """Builds the next slate in place of a stale one, unless someone else does or has done so."""
        prepared = self.prepare(request, now_us)
        if prepared.slate is not None and not prepared.stale:
            return
        try:
            with self._flights.alone(request.user_id, request.surface, prepared.newest):
                self._build(prepared.ctx)
        except Busy:
            return
        self._metrics.observe_stages(prepared.ctx.trace)

    def explain(self, user_id: str, now_us: int, story_id: str | None = None, surface: str = "home") -> dict[str, Any]:
        """The funnel of a fresh ranking, and the path of one story through it. Writes nothing."""
        ctx, _ = self.context(user_id, now_us, surface, None)
        if story_id is not None:
            row = ctx.world.row(story_id)
            ctx.trace.watched_row = row if row >= 0 else None
        pipeline = Pipeline(self.components, lambda ctx, slate: None)
        ctx.reading = self._store.read_for_build(user_id, utc_day(now_us))
        slate = pipeline.build(ctx)
        page = pipeline.read(ctx, slate, 0, len(slate))
        ctx.trace.watch("validate", page.entries)
        told = {
            "user_id": user_id,
            "slate": about(slate, cached=False),
            "stages": [_told(report) for report in ctx.trace.stages],
            "degraded": ctx.trace.degraded,
        }
        return told if story_id is None else {**told, "story": self._path(ctx, story_id)}

    def context(
        self, user_id: str, now_us: int, surface: str = "home", slate_id: str | None = None
    ) -> tuple[Context, Reading]:
        """A context that pins everything for one request of one person, and what was read for it."""
        loaded = self.live.loaded()
        manifest, position = loaded.world.manifest, loaded.world.position
        reading = self._store.read(manifest, user_id, surface=surface, slate_id=slate_id, story_position=position)
        world = loaded.advance(reading.story_changes)
        person = Person(reading.state, world)
        wanted, bits = frozenset(self.components.ranker.inputs), self.components.bits
        return Context(world, person, now_us, self.settings, surface, wanted, bits=bits), reading

    def _build(self, ctx: Context) -> Slate:
        ctx.reading = self._store.read_for_build(ctx.user_id, utc_day(ctx.now_us))
        ctx.wanted = features_wanted(ctx, self.components)
        slate = self._pipeline.build(ctx)
        if ctx.timeline_due:
            self._store.ask_for_timeline(ctx.user_id, ctx.timeline_due)
        return slate

    def _page(self, prepared: Prepared, slate: Slate) -> dict[str, Any]:
        ctx, cached = prepared.ctx, prepared.slate is not None
        newer = new_count(ctx, self.components, slate) if cached and not prepared.request.cursor else 0
        asked = Asked(ctx, slate, prepared.start, prepared.request.limit, prepared.delivered, cached, newer)
        page = self._pipeline.read(ctx, slate, asked.start, asked.limit)
        answered = answer(asked, page, self.components, self._cursors)
        served = served_page(asked, page, answered)
        self._served.note(served)
        if cached and not prepared.stale and not prepared.request.cursor:
            self.answered.note(asked, page, answered, served)
        self._metrics.observe_page(ctx.trace, cached=cached, stale=prepared.stale)
        return answered

    def _write(self, ctx: Context, slate: Slate) -> Slate:
        """The slate in force. Busy when the chain it continues has gone on from it long ago."""
        settings = self.settings
        before = np.empty(0, np.int64) if ctx.chain is None else ctx.chain.passed
        ends = SlateEnds(
            slate_ttl_s=ttl_s(slate.info.id, settings),
            chain_ttl_s=settings.chain_ttl_s,
            day=utc_day(ctx.now_us),
            surface=ctx.surface if ctx.chain is None else None,
        )
        value = slate.encode()
        self._metrics.slate_bytes.observe(len(value))
        kept = self._store.write_slate(ctx.user_id, slate, value, encode_chain(before, slate.stories), ends)
        if kept is None:
            raise Busy
        return kept

    def _usable(self, kept: Kept) -> Kept:
        """Without a slate of a service with other providers, whose source bits mean something else."""
        if kept.slate is None or kept.slate.info.sources == tuple(self.components.bits):
            return kept
        return replace(kept, slate=None)

    def _path(self, ctx: Context, story_id: str) -> dict[str, Any]:
        watched = dict(ctx.trace.watched)
        if ctx.trace.watched_row is None:
            return {"story_id": story_id, "known": False}
        bits = watched.pop("sources", 0)
        sources = [name for name, bit in self.components.bits.items() if bits >> bit & 1]
        return {"story_id": story_id, "known": True, "sources": sources, **watched}


def _told(report: StageReport) -> dict[str, Any]:
    return {
        "stage": report.stage,
        "in": report.taken,
        "out": report.given,
        "dropped": report.dropped,
        "parts": report.parts,
        "ms": round(report.ms, 3),
    }
