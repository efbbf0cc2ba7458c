"""The feed service without HTTP: pins one world and one person per request, and runs the pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from online.components import Components
from online.context import Context, StageReport
from online.cursor import Cursor, CursorCodec
from online.live import LiveSnapshot
from online.person import Person
from online.pipeline import Pipeline
from online.presenting import items, timestamp
from online.settings import OnlineSettings
from online.slate import Slate, identify
from online.store import PersonStore, Reading


class CursorExpired(Exception):
    """The slate that a cursor points into is gone."""


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
    start: int
    delivered: int


class FeedService:
    """`prepare` is cheap and waits for Redis; `answer` ranks when there is no slate. Both may run in threads."""

    def __init__(
        self,
        live: LiveSnapshot,
        store: PersonStore,
        components: Components,
        settings: OnlineSettings,
        cursors: CursorCodec,
    ) -> None:
        self.live = live
        self.settings = settings
        self.components = components
        self._store = store
        self._cursors = cursors
        self._pipeline = Pipeline(components, self._write)

    def feed(self, request: FeedRequest, now_us: int) -> dict[str, Any]:
        """One page of the feed, as the API answers it. InvalidCursor, CursorExpired, Unavailable."""
        return self.answer(self.prepare(request, now_us))

    def prepare(self, request: FeedRequest, now_us: int) -> Prepared:
        """Pins the world, reads the person and the slate: one round trip."""
        cursor = self._cursors.decode(request.cursor, request.user_id) if request.cursor else None
        ctx, reading = self.context(request.user_id, now_us, request.surface, cursor.slate_id if cursor else None)
        if cursor is None:
            slate = None if request.fresh else self._usable(reading.slate)
            if slate is not None and not slate.serves_first_page(ctx.world.version, reading.state.standing):
                slate = None
            return Prepared(request, ctx, slate, 0, 0)
        if self._usable(reading.slate) is None:
            raise CursorExpired(f"the list this cursor pointed into is gone after {self.settings.slate_ttl_s} s")
        return Prepared(request, ctx, reading.slate, cursor.index, cursor.delivered)

    def answer(self, prepared: Prepared) -> dict[str, Any]:
        """The page: from the slate at hand, else from a new one."""
        ctx, request = prepared.ctx, prepared.request
        slate = self._pipeline.build(ctx) if prepared.slate is None else prepared.slate
        page = self._pipeline.read(ctx, slate, prepared.start, request.limit)
        delivered = prepared.delivered + len(page.entries)
        after = None if page.next_index is None else Cursor(slate.info.id, page.next_index, delivered)
        return {
            "request_id": identify(slate.info.id, prepared.start, request.limit, ctx.now_us, ctx.pinned),
            "items": items(ctx, self.components, page.entries, prepared.delivered),
            "next_cursor": self._cursors.encode(after, request.user_id) if after else None,
            "slate": _about(slate, cached=prepared.slate is not None),
            "degraded": list(slate.info.degraded),
        }

    def explain(self, user_id: str, now_us: int, story_id: str | None = None, surface: str = "home") -> dict[str, Any]:
        """The funnel of a fresh ranking, and the path of one story through it. Writes nothing."""
        ctx, _ = self.context(user_id, now_us, surface, None)
        if story_id is not None:
            row = ctx.world.row(story_id)
            ctx.trace.watched_row = row if row >= 0 else None
        pipeline = Pipeline(self.components, lambda ctx, slate: None)
        slate = pipeline.build(ctx)
        page = pipeline.read(ctx, slate, 0, len(slate))
        ctx.trace.watch("validate", page.entries)
        answer = {
            "user_id": user_id,
            "slate": _about(slate, cached=False),
            "stages": [_told(report) for report in ctx.trace.stages],
            "degraded": ctx.trace.degraded,
        }
        return answer if story_id is None else {**answer, "story": self._path(ctx, story_id)}

    def context(
        self, user_id: str, now_us: int, surface: str = "home", slate_id: str | None = None
    ) -> tuple[Context, Reading]:
        """A context that pins everything for one request of one person, and what was read for it."""
        loaded = self.live.loaded()
        manifest, position = loaded.world.manifest, loaded.world.position
        reading = self._store.read(manifest, user_id, surface=surface, slate_id=slate_id, story_position=position)
        world = loaded.advance(reading.story_changes)
        person = Person(reading.state, world)
        wanted = frozenset(self.components.ranker.inputs)
        return Context(world, person, now_us, self.settings, surface, wanted), reading

    def _write(self, ctx: Context, slate: Slate) -> None:
        self._store.write_slate(ctx.user_id, ctx.surface, slate, self.settings.slate_ttl_s)

    def _usable(self, slate: Slate | None) -> Slate | None:
        """None for a slate of a service with other providers, whose source bits mean something else."""
        return slate if slate is not None and slate.info.sources == tuple(self.components.bits) else None

    def _path(self, ctx: Context, story_id: str) -> dict[str, Any]:
        watched = dict(ctx.trace.watched)
        if ctx.trace.watched_row is None:
            return {"story_id": story_id, "known": False}
        bits = watched.pop("sources", 0)
        sources = [name for name, bit in self.components.bits.items() if bits >> bit & 1]
        return {"story_id": story_id, "known": True, "sources": sources, **watched}


def _about(slate: Slate, *, cached: bool) -> dict[str, Any]:
    info = slate.info
    return {
        "id": info.id,
        "built_at": timestamp(info.built_at_us),
        "snapshot": info.snapshot,
        "model": info.model,
        "variant": info.variant,
        "cached": cached,
        "candidates": info.candidates,
    }


def _told(report: StageReport) -> dict[str, Any]:
    return {
        "stage": report.stage,
        "in": report.taken,
        "out": report.given,
        "dropped": report.dropped,
        "parts": report.parts,
        "ms": round(report.ms, 3),
    }
