"""The HTTP face of the feed service."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

import redis
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.types import ASGIApp

from features import formulas
from features.errors import Unavailable
from features.packing import CorruptValue
from features.settings import Settings
from online.clock import Clock, clock_from
from online.components import Components, default_components
from online.feed.workers import Threads
from online.http import problems
from online.http.cross_origin import Origins
from online.http.middleware import BodyLimit, HeadAsGet, OpaqueSegments
from online.http.routes import ROUTERS
from online.metrics import Metrics
from online.postprocessors.blocks import warm_up
from online.service_settings import OnlineSettings
from online.streams.archiver import archive
from online.streams.dead_letters import dead_letter_count
from online.timelines.fanout import FanOut
from online.wiring import AppState, wire
from rex.local.faults import refusal
from rex.local.redis import connect, doubts, info_of

log = logging.getLogger("rex.online")


def create_app(
    settings: Settings | None = None,
    online: OnlineSettings | None = None,
    components: Components | None = None,
    clock: Clock | None = None,
) -> FastAPI:
    """The app; settings come from the environment unless given. Redis is connected when the app starts."""
    settings, online = settings or Settings(), online or OnlineSettings()
    components, clock = components or default_components(), clock or clock_from(online.as_if)
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        formulas.warm_up()
        warm_up()
        with ExitStack() as stack:
            client = stack.enter_context(connect(settings))
            for doubt in doubts(info_of(client)):
                log.warning("%s", doubt)
            state = wire(client, settings, online, components, clock, metrics)
            stack.callback(state.close)
            _follow(state)  # so that the first request finds a snapshot, if there is one
            stack.enter_context(_every(online.streams.poll_s, lambda: _follow(state)))
            stack.callback(_flush, state)  # the last pages, once nobody asks for more
            stack.enter_context(_every(online.served.flush_s, lambda: _flush(state)))
            stack.enter_context(_every(online.streams.archive_every_s, lambda: _archive(state)))
            stack.enter_context(_every(online.streams.archive_every_s, lambda: _check(state)))
            fan_out = FanOut(client, state.keys, online, state.live, clock)
            stack.enter_context(_every(online.timelines.fanout_every_s, lambda: _fan_out(state, fan_out)))
            app.state.rex, app.state.workers = state, Threads(client, online.http.rankings_at_once)
            yield
            await app.state.workers.close()
            await state.health.close()

    # Offline: the page at /docs brings its own scripts, where FastAPI's would fetch them from elsewhere.
    app = FastAPIOffline(title="Rex", description="Ranked feeds, with reasons.", version="1", lifespan=lifespan)
    app.router.redirect_slashes = False  # the target would be made of a path that is decoded already: another id
    problems.install(app, metrics)
    app.add_middleware(OpaqueSegments)
    app.add_middleware(BodyLimit)
    app.add_middleware(HeadAsGet)
    for router in ROUTERS:
        app.include_router(router)
    problems.describe(app)
    if online.http.cors_origins:
        _surround(app, lambda inside: Origins(inside, online.http.cors_origins, metrics))
    return app


def _surround(app: FastAPI, middleware: Callable[[ASGIApp], ASGIApp]) -> None:
    """Puts a middleware around all others, the one included that answers when everything else has failed."""
    inside = app.build_middleware_stack
    app.build_middleware_stack = lambda: middleware(inside())  # type: ignore[method-assign]  # Starlette adds within


def _follow(state: AppState) -> None:
    try:
        swapped = state.live.refresh()
        story_table = state.live.get()
        state.metrics.stories.set(story_table.snapshot_rows)
        state.metrics.delta.set(len(story_table) - story_table.snapshot_rows)
        if swapped:
            log.info("serving snapshot %s with %d stories", story_table.version, story_table.snapshot_rows)
    except (Unavailable, CorruptValue) as error:
        log.warning("the current snapshot cannot be loaded and will be tried again: %s", error)


def _archive(state: AppState) -> None:
    try:
        state.metrics.archived.inc(archive(state.client, state.keys, state.settings.lake, lost=state.health.note_lost))
        state.metrics.dead_letters.set(dead_letter_count(state.client, state.keys))
    except (Unavailable, redis.RedisError, OSError) as error:
        log.warning("events stay in Redis for now: %s", error)


def _check(state: AppState) -> None:
    try:
        state.health.check()
    except redis.RedisError as error:
        log.warning("the snapshot's pieces in Redis cannot be looked for: %s", error)


def _fan_out(state: AppState, fan_out: FanOut) -> None:
    if not state.live.is_loaded:
        return  # there is nobody to deliver to, and `_follow` says why
    try:
        done = fan_out.work()
        state.metrics.fanned_out.labels("stories").inc(done.stories)
        state.metrics.fanned_out.labels("timelines").inc(done.users)
    except Unavailable as error:
        log.warning("%s", error)


def _flush(state: AppState) -> None:
    try:
        state.served.flush()
    except Unavailable as error:
        log.warning("%s", error)


@contextmanager
def _every(period_s: float, work: Callable[[], None]) -> Any:
    """Runs `work` in a thread of its own, `period_s` after it last ended, until the block ends."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(period_s):
            try:
                work()
            except Exception as error:
                if (known := refusal(error)) is None:
                    log.exception("background work failed and will be tried again in %s s", period_s)
                else:
                    log.error("%s Background work will be tried again in %s s.", known, period_s)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
