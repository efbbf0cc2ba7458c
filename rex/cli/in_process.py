"""The feed service without a server: the same parts, wired in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from features.settings import Settings
from features.times import micros
from online.clock import clock_from
from online.components import Components, default_components
from online.feed.preparing import FeedRequest
from online.metrics import Metrics
from online.service_settings import OnlineSettings
from online.wiring import AppState, wire
from rex.cli.client import explained_story
from rex.local.redis import connect


@contextmanager
def loaded(
    settings: Settings, online: OnlineSettings | None = None, components: Components | None = None
) -> Iterator[AppState]:
    """Everything a request needs, with the current snapshot loaded; Unavailable when there is none."""
    online = online or OnlineSettings()
    with connect(settings) as client:
        state = wire(client, settings, online, components or default_components(), clock_from(online.as_if), Metrics())
        try:
            state.live.refresh()
            yield state
        finally:
            state.close()


def local_feed(
    settings: Settings, user_id: str, limit: int, story_id: str | None, *, top: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    """One page and the funnel, as the API would answer them; `top`: explain the first story of the page unless one is named."""
    with loaded(settings) as rex:
        now_us = micros(rex.clock())
        page = rex.feeds.feed(FeedRequest(user_id, limit), now_us)
        return page, rex.feeds.explain(user_id, now_us, explained_story(page, story_id, top=top))
