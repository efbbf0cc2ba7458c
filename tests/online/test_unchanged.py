"""A page that is answered as it was before is the page that would have been made; any change, and it is made anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from online.http.app import create_app
from tests.online.conftest import OFTEN, STORIES, FeedServer, serving, wait_until

Page = dict[str, Any]


def unchanged(served: FeedServer) -> float:
    """Pages answered as before, so far."""
    lines = served.http.get("/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("rex_unchanged_pages_total"))


def asked_twice(served: FeedServer) -> Page:
    """The page the second time: made from the cached slate, and kept."""
    served.feed("u-fan", limit=8)
    return served.feed("u-fan", limit=8)


def without_ids(page: Page) -> Page:
    return {name: value for name, value in page.items() if name != "request_id"}


def test_an_unchanged_page_is_the_page_that_would_be_made(served: FeedServer) -> None:
    kept = asked_twice(served)
    served.now += timedelta(seconds=1)
    again = served.feed("u-fan", limit=8)
    assert unchanged(served) == 1
    assert without_ids(again) == without_ids(kept)
    assert again["request_id"] != kept["request_id"]
    never = OFTEN.model_copy(update={"cache": replace(OFTEN.cache, pages_kept=0)})
    with serving(create_app(served.settings, never, clock=lambda: served.now)) as other:
        assert other.get("/v1/users/u-fan/feed", params={"limit": 8}).json() == again


CHANGES: dict[str, Callable[[FeedServer, Page], object]] = {
    "a read": lambda s, page: s.send(s.event("e1", "u-fan", "read", story_id=page["items"][0]["story_id"])),
    "a hide": lambda s, page: s.send(s.event("e1", "u-fan", "hide", story_id=page["items"][0]["story_id"])),
    "a mute": lambda s, page: s.send(s.event("e1", "u-fan", "mute", target_type="author", target_id="a3")),
    "an unfollow": lambda s, page: s.send(s.event("e1", "u-fan", "unfollow", target_type="author", target_id="a3")),
    "a withdrawal": lambda s, page: s.http.delete(f"/v1/stories/{page['items'][0]['story_id']}"),
    "a new story": lambda s, page: s.http.put("/v1/stories/s-new", json={"published_at": s.now.isoformat()}),
    "an expired slate": lambda s, page: s.client.delete(s.keys.slate("u-fan", page["slate"]["id"])),
    "a newer slate": lambda s, page: s.feed("u-fan", limit=9, fresh=True),
    "a snapshot": lambda s, page: s.publish(STORIES),
    "time": lambda s, page: setattr(s, "now", s.now + timedelta(seconds=61)),
    "a clock that went back": lambda s, page: setattr(s, "now", s.now - timedelta(seconds=5)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_has_the_page_made_anew(served: FeedServer, change: str) -> None:
    kept = asked_twice(served)
    served.now += timedelta(seconds=1)
    CHANGES[change](served, kept)
    served.feed("u-fan", limit=8)
    assert unchanged(served) == 0


def test_a_story_dated_ahead_ends_what_is_unchanged(served: FeedServer) -> None:
    served.http.put("/v1/stories/s-ahead", json={"published_at": (served.now + timedelta(seconds=10)).isoformat()})
    assert asked_twice(served)["new_count"] == 0
    served.now += timedelta(seconds=9)
    assert served.feed("u-fan", limit=8)["new_count"] == 0
    assert unchanged(served) == 1
    served.now += timedelta(seconds=1)
    assert served.feed("u-fan", limit=8)["new_count"] == 1


def test_what_is_answered_again_is_in_the_history_too(served: FeedServer) -> None:
    asked_twice(served)
    history = served.keys.served_history("u-fan")
    wait_until(lambda: served.client.zcard(history) == 1)
    served.now += timedelta(seconds=1)
    served.feed("u-fan", limit=8)
    assert unchanged(served) == 1
    wait_until(lambda: served.client.zrange(history, 0, -1, withscores=True)[0][1] == served.now.timestamp() * 1000)


def test_no_more_pages_are_kept_than_the_setting_says(served: FeedServer) -> None:
    few = OFTEN.model_copy(update={"cache": replace(OFTEN.cache, pages_kept=2)})
    with serving(create_app(served.settings, few, clock=lambda: served.now)) as other:
        for user in ("u-1", "u-2", "u-3"):
            for _ in range(2):
                other.get(f"/v1/users/{user}/feed")
        for user in ("u-3", "u-2", "u-1"):
            other.get(f"/v1/users/{user}/feed")
        assert "rex_unchanged_pages_total 2.0" in other.get("/metrics").text
