"""One page, asked for on the event loop: nobody who waits holds a thread."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import orjson
from anyio import CapacityLimiter, sleep, to_thread

from online.clock import micros
from online.feed.preparing import FeedRequest, Prepared
from online.feed.service import FeedService
from online.feed.single_flight import POLL_S, Busy
from online.wiring import AppState

log = logging.getLogger("rex.online")
_renewals: dict[tuple[FeedService, str, str], asyncio.Task[None]] = {}
"""Renewals under way by service, user and surface, one of each: the event loop itself keeps no hold of its tasks."""


async def page_of(rex: AppState, wanted: FeedRequest, places: CapacityLimiter) -> bytes:
    """The answer, JSON. From a slate at hand it takes one thread for a moment; rankings take one of `places`, so that they
    never keep cached pages from theirs. Raises what FeedService raises."""
    feeds = rex.feeds
    for attempt in range(feeds.polls):
        prepared, page = await to_thread.run_sync(_at_hand, feeds, wanted, micros(rex.clock()))
        if page is not None:
            if prepared.stale:
                _renew(rex, wanted, places)
            return page
        try:
            return await to_thread.run_sync(_json, feeds.build, prepared, limiter=places)
        except Busy:
            rex.metrics.waits.inc(attempt == 0)
            await sleep(POLL_S)
    return await to_thread.run_sync(_json, feeds.build_anyway, wanted, micros(rex.clock()), limiter=places)


def _at_hand(feeds: FeedService, wanted: FeedRequest, now_us: int) -> tuple[Prepared, bytes | None]:
    """The page if there is a slate to answer it from."""
    prepared = feeds.prepare(wanted, now_us)
    return prepared, None if prepared.slate is None else _json(feeds.answer, prepared)


def _json(work: Any, *arguments: Any) -> bytes:
    return orjson.dumps(work(*arguments))


def _renew(rex: AppState, wanted: FeedRequest, places: CapacityLimiter) -> None:
    """Builds the next slate after the answer has gone out, unless it is being built or waits for a place already: the
    requests of one user must not queue up before those who have nothing to look at."""
    what = (rex.feeds, wanted.user_id, wanted.surface)
    if what in _renewals:
        return

    async def run() -> None:
        try:
            await to_thread.run_sync(rex.feeds.renew, wanted, micros(rex.clock()), limiter=places)
        except Exception:
            log.exception("the next slate of %s could not be built; the next request tries again", wanted.user_id)

    task = _renewals[what] = asyncio.create_task(run())
    task.add_done_callback(lambda done: _renewals.pop(what))
