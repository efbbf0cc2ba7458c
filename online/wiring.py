"""Everything a request needs, put together in one place: for the HTTP app, the command line, benchmarks and tests."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import redis

from features.keys import Keys
from features.settings import Settings
from online.clock import Clock
from online.components import Components
from online.feed.building import SlateBuilder
from online.feed.preparing import Preparer
from online.feed.served_log import ServedLog
from online.feed.service import FeedService
from online.feed.snapshot_loader import LiveSnapshot
from online.feed.workers import Here
from online.http.health import HealthCheck
from online.ingest.events import EventIntake
from online.ingest.stories import StoryIntake
from online.ingest.users import AccountIntake
from online.metrics import Metrics
from online.rankers.learned import ranker_for
from online.rankers.models.model import Model
from online.rankers.protocol import Ranker
from online.service_settings import OnlineSettings
from online.slates.cursor import CursorCodec, cursor_keys
from online.slates.slate_store import SlateStore
from online.user.store import UserStore
from rex.local.redis import on_loop
from rex.model_service.client import ModelService


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
    models: ModelService | None
    """Where the snapshots' models run; None: in this process."""
    feeds: FeedService
    events: EventIntake
    stories: StoryIntake
    accounts: AccountIntake
    served: ServedLog
    health: HealthCheck

    def close(self) -> None:
        """Lets go of what is no part of Redis."""
        if self.models is not None:
            self.models.close()


def wire(
    client: redis.Redis,
    settings: Settings,
    online: OnlineSettings,
    components: Components,
    clock: Clock,
    metrics: Metrics,
) -> AppState:
    """The parts over one client; no snapshot is loaded yet (`live.refresh`)."""
    components.check_surfaces(online.aggregate.surfaces)
    keys = Keys(settings.redis_prefix)
    models = ModelService(online.models.service_url, online.models.timeout_ms) if online.models.service_url else None
    live = LiveSnapshot(client, keys, partial(_ranker, components, online, models))
    cursors = CursorCodec(cursor_keys(online.http.cursor_keys, settings.var))
    served = ServedLog(client, keys, online, metrics.served_lost)
    store, slates = UserStore(client, keys), SlateStore(client, keys)
    preparer = Preparer(live, store, slates, components, online, cursors)
    builder = SlateBuilder(client, keys, store, slates, components, online, metrics)
    feeds = FeedService(components, preparer, builder, cursors, served, metrics, Here(client))
    return AppState(
        settings=settings,
        online=online,
        client=client,
        keys=keys,
        clock=clock,
        metrics=metrics,
        live=live,
        models=models,
        feeds=feeds,
        events=EventIntake(client, keys, online),
        stories=StoryIntake(client, keys, online),
        accounts=AccountIntake(client, keys, online),
        served=served,
        health=HealthCheck(client, on_loop(client), keys, live),
    )


def _ranker(
    components: Components, online: OnlineSettings, service: ModelService | None, model: Model | None, digest: str
) -> Ranker:
    """What ranks with a snapshot's model. ValueError when no annotator provides what it needs."""
    ranker = components.ranker or ranker_for(online.ranking, model, digest, service.of if service else None)
    components.check_ranker(ranker)
    return ranker
