"""The pages of a pagination session partition what was suitable throughout, whatever happens between them, slate expiries included."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch.publish import publish_content
from features.keys import Keys
from features.settings import Settings
from features.times import micros
from online.components import default_components
from online.feed.preparing import FeedRequest
from online.ingest.stories import Story
from online.metrics import Metrics
from online.service_settings import OnlineSettings
from online.wiring import AppState, wire
from rex.local.redis_server import Server
from tests.online.conftest import STORIES
from tests.online.small_world import NOW, content

USER = "u-new"
ALL = {story["id"] for story in STORIES}
AUTHOR_OF = {story["id"]: story["author"] for story in STORIES}

happenings = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(("read", "hide", "withdraw")), st.integers(0, len(STORIES) - 1)),
        st.tuples(st.sampled_from(("mute", "publish", "expire", "again")), st.integers(0, 9)),
    ),
    max_size=3,
)


@dataclass
class Reading:
    """One user's pagination session over the service itself, without HTTP."""

    rex: AppState
    now: datetime = NOW
    due: set[str] = field(default_factory=lambda: set(ALL))
    forbidden: set[str] = field(default_factory=set)
    delivered: list[str] = field(default_factory=list)
    happened: int = 0

    def page(self, limit: int, cursor: str | None) -> dict[str, Any]:
        return self.rex.feeds.feed(FeedRequest(USER, limit, cursor), micros(self.now))

    def take(self, page: dict[str, Any]) -> str | None:
        ids = [item["story_id"] for item in page["items"]]
        assert not set(ids) & set(self.delivered), "a story came twice"
        assert not set(ids) & self.forbidden, "an unsuitable story came"
        assert [item["position"] for item in page["items"]] == list(
            range(len(self.delivered), len(self.delivered) + len(ids))
        )
        self.delivered += ids
        cursor: str | None = page["next_cursor"]
        return cursor

    def happen(self, what: str, which: int, slate_id: str) -> None:
        self.now += timedelta(seconds=1)
        self.happened += 1
        if what == "expire":
            self.rex.client.delete(self.rex.keys.slate(USER, slate_id))
        elif what == "publish":
            self._publish(f"s-new-{self.happened}")
        elif what == "withdraw":
            self.rex.stories.withdraw(
                STORIES[which]["id"], self.now, {"story_id": STORIES[which]["id"], "published_at": NOW.isoformat()}
            )
            self._forbid({STORIES[which]["id"]})
        elif what == "mute":
            self._send("mute", target_type="author", target_id=f"a{which}")
            self._forbid({story for story, author in AUTHOR_OF.items() if author == f"a{which}"})
        else:
            self._send(what, story_id=STORIES[which]["id"])
            self._forbid({STORIES[which]["id"]})

    def _publish(self, story_id: str) -> None:
        self.rex.stories.put(story_id, Story(published_at=self.now, author_id="a-other"), self.now)
        self.forbidden.add(story_id)  # newer than the pagination session

    def _forbid(self, stories: set[str]) -> None:
        self.forbidden |= stories
        self.due -= stories

    def _send(self, kind: str, **about: Any) -> None:
        event = {"event_id": f"e{self.happened}", "user_id": USER, "type": kind, "occurred_at": self.now.isoformat()}
        assert self.rex.events.accept([{**event, **about}], self.now).accepted == 1


@pytest.fixture
def given_settings(redis_server: Server, tmp_path: Path) -> Settings:
    return Settings(var=tmp_path, lake=tmp_path / "lake", redis_url=redis_server.url)


def served(client: redis.Redis, of: Settings) -> AppState:
    """A service over an empty Redis with the fifty stories."""
    client.flushall()
    made = content(STORIES, {}, NOW - timedelta(hours=12))
    publish_content(lambda: made, client, Keys(), now=NOW, kept=1)
    rex = wire(client, of, OnlineSettings(), default_components(), lambda: NOW, Metrics())
    rex.live.refresh()
    return rex


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.integers(3, 20), between=st.lists(happenings, max_size=12))
def test_no_story_twice_none_unsuitable_and_none_skipped(
    redis_client: redis.Redis, given_settings: Settings, limit: int, between: list[list[tuple[str, int]]]
) -> None:
    reading = Reading(served(redis_client, given_settings))
    page = reading.page(limit, None)
    cursor = reading.take(page)
    left = iter(between)
    while cursor is not None:
        happened = next(left, [])
        for what, which in happened:
            if what != "again":
                reading.happen(what, which, page["slate"]["id"])
        page = reading.page(limit, cursor)
        if any(what == "again" for what, _ in happened):
            assert reading.page(limit, cursor)["items"] == page["items"], "the same cursor gave another page"
        cursor = reading.take(page)
    assert reading.due <= set(reading.delivered), "a story that was suitable throughout never came"
