"""Everything a request needs, put together in one place: for the HTTP app, the command line, benchmarks and tests."""

from __future__ import annotations

from dataclasses import dataclass

import redis

from features.keys import Keys
from features.settings import Settings
from local.redis import on_loop
from online.clock import Clock
from online.components import Components
from online.cursor import CursorCodec, cursor_keys
from online.events import EventIntake
from online.live import LiveSnapshot
from online.metrics import Metrics
from online.served_log import ServedLog
from online.service import FeedService
from online.settings import OnlineSettings
from online.single_flight import SingleFlight
from online.store import PersonStore
from online.stories import StoryIntake
from online.unchanged import Unchanged


@dataclass(frozen=True, slots=True)
class AppState:
    """What requests share, made once; the routes find it at `request.app.state.rex`."""

    settings: Settings
    online: OnlineSettings
    client: redis.Redis
    keys: Keys
    clock: Clock
    metrics: Metrics
    live: LiveSnapshot
    feeds: FeedService
    events: EventIntake
    stories: StoryIntake
    served: ServedLog
    unchanged: Unchanged


def wire(
    client: redis.Redis,
    settings: Settings,
    online: OnlineSettings,
    components: Components,
    clock: Clock,
    metrics: Metrics,
) -> AppState:
    """The parts over one client; no snapshot is loaded yet (`live.refresh`)."""
    components.check_surfaces(online.surfaces)
    keys = Keys(settings.redis_prefix)
    live = LiveSnapshot(client, keys)
    cursors = CursorCodec(cursor_keys(online.cursor_keys, settings.var))
    served = ServedLog(client, keys, online, metrics.served_lost)
    flights = SingleFlight(client, keys, online)
    feeds = FeedService(live, PersonStore(client, keys), components, online, cursors, flights, served, metrics)
    return AppState(
        settings=settings,
        online=online,
        client=client,
        keys=keys,
        clock=clock,
        metrics=metrics,
        live=live,
        feeds=feeds,
        events=EventIntake(client, keys, online),
        stories=StoryIntake(client, keys, online),
        served=served,
        unchanged=Unchanged(on_loop(client), keys, feeds.answered, served),
    )
