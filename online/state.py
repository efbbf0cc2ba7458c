"""What the routes share, made once when the app starts."""

from __future__ import annotations

from dataclasses import dataclass

import redis

from features.keys import Keys
from features.settings import Settings
from online.clock import Clock
from online.events import EventIntake
from online.live import LiveSnapshot
from online.metrics import Metrics
from online.service import FeedService
from online.settings import OnlineSettings
from online.stories import StoryIntake


@dataclass(frozen=True, slots=True)
class AppState:
    """Typed; found at `request.app.state.rex`."""

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
