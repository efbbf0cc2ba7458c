"""From a request to what it is answered from: the story table, the user, and the slate or the place in a pagination session."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter

from online.components import Components
from online.context import Context, Trace
from online.feed.snapshot_loader import LiveSnapshot
from online.feed.workers import Workers
from online.service_settings import OnlineSettings
from online.slates.cursor import CursorCodec
from online.slates.freshness import Freshness, freshness
from online.slates.pagination_session import Kept, PaginationSession, Place, find_place
from online.slates.slate import Slate
from online.slates.slate_store import SlateStore
from online.user.store import UserStore
from online.user.user import User


@dataclass(frozen=True, slots=True)
class FeedRequest:
    """One call for one page."""

    user_id: str
    limit: int = 20
    cursor: str | None = None
    surface: str = "home"
    fresh: bool = False
    """Rank anew even when a slate is there."""
    hint: tuple[int, ...] = ()
    """Codes of the languages that the client's Accept-Language names; they count where nobody knows the user's."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request with everything pinned and read; `slate` None: one has to be built."""

    request: FeedRequest
    ctx: Context
    slate: Slate | None
    start: int = 0
    """Index in the slate."""
    delivered: int = 0
    """Items that the pagination session has delivered before."""
    stale: bool = False
    """Whether the next slate is to be built in the background."""
    newest: str | None = None
    """Id of the newest slate when this was read, empty: none; None: another slate in its place would not do."""


class Preparer:
    """Pins everything for one request."""

    def __init__(
        self,
        live: LiveSnapshot,
        store: UserStore,
        slates: SlateStore,
        components: Components,
        settings: OnlineSettings,
        cursors: CursorCodec,
    ) -> None:
        self._live = live
        self._store = store
        self._slates = slates
        self._components = components
        self._settings = settings.ranking
        self._cursors = cursors

    async def prepare(self, request: FeedRequest, now_us: int, workers: Workers) -> Prepared:
        """Pins the story table, reads the user and the slate: one round trip, more only when a cursor's slate has expired.

        InvalidCursor, CursorExpired, Unavailable.
        """
        if request.cursor:
            return await self._resumed(request, now_us, workers)
        ctx, kept = await self.pinned(request.user_id, now_us, workers, request.surface, hint=request.hint)
        if request.fresh:
            return Prepared(request, ctx, None)
        state = Freshness.USED_UP if kept.slate is None else freshness(ctx, kept.slate)
        if state is Freshness.USED_UP:
            return Prepared(request, ctx, None, newest=kept.slate_id)
        return Prepared(request, ctx, kept.slate, stale=state is Freshness.STALE, newest=kept.slate_id)

    async def _resumed(self, request: FeedRequest, now_us: int, workers: Workers) -> Prepared:
        """The place in its pagination session to which a cursor points."""
        user_id, cursor = request.user_id, self._cursors.decode(request.cursor or "", request.user_id)
        ctx, kept = await self.pinned(user_id, now_us, workers, cursor.surface, cursor.slate_id, request.hint)
        if kept.slate is not None:
            return Prepared(request, ctx, kept.slate, cursor.index, cursor.delivered)

        def read(slate_id: str) -> Kept:
            return self._usable(self._slates.read(user_id, slate_id))

        def find() -> Place:
            # What the session has consumed is not read along with a slate, even if that slate is of no use here.
            return find_place(
                kept if kept.pagination_session is not None else read(cursor.slate_id), cursor.index, read
            )

        place = await workers.work(find)
        if place.consumed is not None:
            session = PaginationSession(place.slate_id, place.consumed, cursor.watermark)
            ctx = replace(ctx, pagination_session=session)
        return Prepared(request, ctx, place.slate, place.index, cursor.delivered)

    async def pinned(
        self,
        user_id: str,
        now_us: int,
        workers: Workers,
        surface: str = "home",
        slate_id: str | None = None,
        hint: tuple[int, ...] = (),
    ) -> tuple[Context, Kept]:
        """A context that pins everything for one request of one user, and what there is of the slate."""
        loaded = self._live.loaded()
        manifest, position = loaded.story_table.manifest, loaded.story_table.position
        reading = await self._store.read(
            workers.ask, manifest, user_id, surface=surface, slate_id=slate_id, story_position=position
        )
        changes = reading.story_changes
        story_table = await workers.work(loaded.advance, changes) if changes else loaded.story_table
        kept = self._usable(reading.kept)
        if slate_id is not None and reading.kept.slate is not None:
            hint = reading.kept.slate.info.hint  # the rest of a slate is read in the languages of its beginning
        user = User(reading.state, story_table, hint)
        wanted, sources = frozenset(loaded.ranker.inputs), self._components.providers
        trace = Trace(perf_counter, strict=self._settings.strict)
        made = Context(
            story_table, user, now_us, self._settings, loaded.ranker, surface, wanted, sources=sources, trace=trace
        )
        return made, kept

    def _usable(self, kept: Kept) -> Kept:
        """Without a slate of a service with other providers, whose source bits mean something else."""
        if kept.slate is None or kept.slate.info.sources == tuple(self._components.bits):
            return kept
        return replace(kept, slate=None)
