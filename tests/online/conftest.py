"""A feed service over real HTTP and a real Redis, with a clock that tests set."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from batch.publish import publish_content
from features.keys import Keys
from features.settings import Settings
from online.http.app import create_app
from online.service_settings import OnlineSettings
from rex.local.redis_server import Server
from tests.fixtures_redis import redis_client, redis_server
from tests.http_server import serving, wait_until
from tests.online.small_world import NOW, content

__all__ = ["redis_client", "redis_server", "serving", "wait_until"]


@dataclass
class FeedServer:
    """What a test needs of a running service."""

    http: httpx.Client
    client: redis.Redis
    keys: Keys
    settings: Settings
    now: datetime = NOW
    published: int = field(default=0)

    def publish(
        self, stories: list[dict[str, Any]], users: dict[str, dict[str, Any]] | None = None, **more: Any
    ) -> str:
        """Publishes a snapshot and waits until it is served; returns its version."""
        as_of = self.now - timedelta(hours=12) + timedelta(seconds=self.published)
        self.published += 1
        made = content(stories, users or {}, as_of, **more)
        version = publish_content(lambda: made, self.client, self.keys, now=self.now, kept=3).version
        self.wait_for(version)
        return version

    def wait_for(self, version: str) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if self.http.get("/readyz").json().get("snapshot") == version:
                return
            time.sleep(0.02)
        raise TimeoutError(f"{version} is not served after 10 s")

    def feed(self, user: str, **query: Any) -> dict[str, Any]:
        answer = self.http.get(f"/v1/users/{user}/feed", params=query)
        assert answer.status_code == 200, answer.text
        page: dict[str, Any] = answer.json()
        return page

    def stories(self, user: str, **query: Any) -> list[str]:
        return [item["story_id"] for item in self.feed(user, **query)["items"]]

    def send(self, *events: dict[str, Any]) -> dict[str, Any]:
        answer = self.http.post("/v1/events", json={"events": list(events)})
        assert answer.status_code == 202, answer.text
        receipt: dict[str, Any] = answer.json()
        return receipt

    def event(self, event_id: str, user: str, kind: str, **more: Any) -> dict[str, Any]:
        return {"event_id": event_id, "user_id": user, "type": kind, "occurred_at": self.now.isoformat(), **more}


@pytest.fixture
def feed_server(redis_server: Server, redis_client: redis.Redis, tmp_path: Path) -> Iterator[FeedServer]:
    """A service without a snapshot, on a free port of the loopback interface."""
    settings = Settings(var=tmp_path / "var", lake=tmp_path / "lake", redis_url=redis_server.url)
    made = FeedServer(None, redis_client, Keys(settings.redis_prefix), settings)  # type: ignore[arg-type]
    with serving(create_app(settings, OFTEN, clock=lambda: made.now)) as made.http:
        yield made


OFTEN = OnlineSettings(streams={"poll_s": 0.05, "archive_every_s": 0.2})
"""Background work comes soon, so that tests need not wait."""
LENIENT = OFTEN.model_copy(update={"strict": False})
"""For tests of degraded answers."""
STORIES: list[dict[str, Any]] = [
    {
        "id": f"s{i:02}",
        "author": f"a{i % 10}",
        "topics": [f"t{i % 5}"],
        "title": f"Title {i}",
        "age_h": i + 1.0,
        "language": "en",
    }
    for i in range(50)
]
USERS: dict[str, dict[str, Any]] = {
    "u-fan": {"created_at": [1], "is_member": [1], "follow_author": ["a3"], "read": ["s00"], "read_at": [5]},
}


@pytest.fixture
def served(feed_server: FeedServer) -> FeedServer:
    feed_server.publish(STORIES, USERS)
    return feed_server
