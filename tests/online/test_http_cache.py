"""The cache over real HTTP: one builder at a time, stale pages while the next slate is made, nothing stale after a change."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from features.arrays import F32
from features.times import micros
from online.components import default_components
from online.feed.preparing import FeedRequest
from online.feed.workers import Threads
from online.http.app import create_app
from online.rankers.protocol import Degrade, refused
from online.rankers.weighted import Weighted
from online.service_settings import OnlineSettings
from online.slates.freshness import JITTER, stretch, ttl_s
from online.slates.slate import identify
from tests.online.conftest import LENIENT, OFTEN, STORIES, FeedServer, serving, wait_until

Page = dict[str, Any]


@dataclass
class Gate(Weighted):
    """The usual ranker, which counts its rankings and holds each back until it is let through."""

    open: threading.Event = field(default_factory=threading.Event)
    rankings: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def score(self, columns: Mapping[str, F32], n: int, degrade: Degrade = refused) -> F32:
        self.rankings += 1
        assert self.open.wait(10), "nobody opened the gate"
        return super().score(columns, n, degrade)


@dataclass
class Pair:
    """Two service processes' worth of apps over one Redis, whose rankings pass one gate."""

    served: FeedServer
    gate: Gate
    https: tuple[httpx.Client, httpx.Client]
    app: FastAPI
    """The first."""

    @property
    def renewals(self) -> Mapping[Hashable, object]:
        """What the first app has put off."""
        workers: Threads = self.app.state.workers
        return workers.under_way

    def feed(self, user: str, app: int = 0, **query: Any) -> Page:
        answer = self.https[app].get(f"/v1/users/{user}/feed", params=query)
        assert answer.status_code == 200, answer.text
        page: Page = answer.json()
        return page

    def count(self, metric: str) -> float:
        """The sum of a metric over both apps."""
        lines = [line for http in self.https for line in http.get("/metrics").text.splitlines()]
        return sum(float(line.split()[-1]) for line in lines if line.split()[0] == metric)


@contextmanager
def two_apps(served: FeedServer, online: OnlineSettings = OFTEN) -> Iterator[Pair]:
    gate = Gate()
    gate.open.set()
    components = default_components(gate)
    apps = [create_app(served.settings, online, components, clock=lambda: served.now) for _ in range(2)]
    with serving(apps[0]) as one, serving(apps[1]) as two:
        yield Pair(served, gate, (one, two), apps[0])


@pytest.fixture
def pair(served: FeedServer) -> Iterator[Pair]:
    with two_apps(served) as made:
        yield made


@contextmanager
def asked_at_once(work: Callable[[int], Page], n: int) -> Iterator[list[Future[Page]]]:
    with ThreadPoolExecutor(n) as pool:
        yield [pool.submit(work, i) for i in range(n)]


class TestSingleFlight:
    def test_one_builds_and_all_others_wait_for_its_slate_also_in_other_processes(self, pair: Pair) -> None:
        pair.gate.open.clear()
        with asked_at_once(lambda i: pair.feed("u-new", app=i % 2), 8) as pages:
            wait_until(lambda: pair.count("rex_build_waits_total") == 7)
            assert pair.gate.rankings == 1
            pair.gate.open.set()
        answered = [page.result() for page in pages]
        assert len({page["slate"]["id"] for page in answered}) == 1
        assert sorted(page["slate"]["cached"] for page in answered) == [False] + [True] * 7
        assert pair.gate.rankings == 1

    def test_surfaces_and_users_do_not_wait_for_each_other(self, pair: Pair) -> None:
        pair.gate.open.clear()
        with asked_at_once(lambda i: pair.feed(f"u-{i % 2}", app=i // 2, surface=("home", "digest")[i // 2]), 4):
            wait_until(lambda: pair.gate.rankings == 4)
            pair.gate.open.set()
        assert pair.count("rex_build_waits_total") == 0

    def test_who_waits_keeps_no_place_from_cached_pages(self, pair: Pair) -> None:
        pair.feed("u-other")
        pair.gate.open.clear()
        with asked_at_once(lambda i: pair.feed("u-new"), 60):  # more than the server has threads
            wait_until(lambda: pair.count("rex_build_waits_total") >= 50)
            assert pair.feed("u-other")["slate"]["cached"] is True
            pair.gate.open.set()

    def test_a_dead_builders_work_is_taken_over_when_its_lease_ends(self, pair: Pair) -> None:
        lock = pair.served.keys.building("u-new", "home")
        pair.served.client.set(lock, "a builder that was killed", px=300)
        assert pair.feed("u-new")["slate"]["cached"] is False
        assert not pair.served.client.exists(lock)

    def test_who_has_waited_long_enough_builds(self, served: FeedServer) -> None:
        lock = served.keys.building("u-new", "home")
        served.client.set(lock, "a builder that hangs", ex=600)
        with two_apps(served, OFTEN.model_copy(update={"cache": replace(OFTEN.cache, build_wait_s=0.05)})) as pair:
            assert pair.feed("u-new")["slate"]["cached"] is False
        assert served.client.get(lock) == b"a builder that hangs", "another's lock was taken away"

    def test_a_failed_build_frees_the_place(self, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(self: Gate, columns: Mapping[str, F32], n: int) -> F32:
            raise ArithmeticError("the model is broken")

        with monkeypatch.context() as broken:
            broken.setattr(Gate, "score", fail)
            assert pair.https[0].get("/v1/users/u-new/feed").status_code == 500
        assert not pair.served.client.exists(pair.served.keys.building("u-new", "home"))
        assert pair.feed("u-new", app=1)["slate"]["cached"] is False


class TestStaleness:
    def newest(self, pair: Pair, user: str) -> str:
        """Id of the user's newest slate."""
        named = pair.served.client.hget(pair.served.keys.latest_slates(user), "home")
        assert isinstance(named, bytes)
        return named.decode()

    def test_a_stale_slate_answers_at_once_while_one_build_makes_the_next(self, pair: Pair) -> None:
        first = pair.feed("u-new")
        pair.served.now += timedelta(seconds=OFTEN.cache.slate_fresh_s * (1 + JITTER) + 1)
        pair.gate.open.clear()
        with asked_at_once(lambda i: pair.feed("u-new", app=i % 2), 6) as pages:
            answered = [page.result() for page in pages]  # the gate is shut, yet they are answered
        assert {page["slate"]["id"] for page in answered} == {first["slate"]["id"]}
        wait_until(lambda: pair.gate.rankings == 2)
        pair.gate.open.set()
        wait_until(lambda: self.newest(pair, "u-new") != first["slate"]["id"])
        after = pair.feed("u-new")
        assert (after["slate"]["cached"], after["slate"]["id"]) == (True, self.newest(pair, "u-new"))
        assert pair.gate.rankings == 2
        assert pair.count("rex_stale_pages_total") == 6

    def test_a_reader_who_asks_often_waits_in_line_once_for_the_next_slate(self, pair: Pair) -> None:
        pair.feed("u-new")
        pair.served.now += timedelta(seconds=OFTEN.cache.slate_fresh_s * (1 + JITTER) + 1)
        pair.gate.open.clear()
        with asked_at_once(lambda i: pair.feed(f"u-{i}"), OFTEN.http.rankings_at_once):  # every place is taken
            wait_until(lambda: pair.gate.rankings == 1 + OFTEN.http.rankings_at_once)
            for _ in range(5):
                pair.feed("u-new")
            under_way = len(pair.renewals)
            pair.gate.open.set()
        assert under_way == 1
        wait_until(lambda: not pair.renewals)
        assert pair.gate.rankings == 2 + OFTEN.http.rankings_at_once

    def test_a_failed_history_is_told(self, served: FeedServer) -> None:
        with two_apps(served, LENIENT) as pair:
            served.client.zadd(served.keys.served_history("u-new"), {b"no page": 1.0})
            assert pair.feed("u-new")["degraded"] == ["served_history"]
            assert pair.feed("u-new")["degraded"] == ["served_history"]

    def test_beyond_the_bound_a_slate_is_built_before_the_answer(self, pair: Pair) -> None:
        first = pair.feed("u-new")
        pair.served.now += timedelta(seconds=OFTEN.cache.slate_fresh_s * (1 + JITTER) + OFTEN.cache.stale_s + 1)
        after = pair.feed("u-new")
        assert after["slate"]["cached"] is False
        assert after["slate"]["id"] != first["slate"]["id"]

    def test_a_fresh_slate_is_not_renewed(self, pair: Pair) -> None:
        first = pair.feed("u-new")
        pair.served.now += timedelta(seconds=OFTEN.cache.slate_fresh_s * (1 - JITTER) - 1)
        assert pair.feed("u-new")["slate"]["id"] == first["slate"]["id"]
        assert pair.count("rex_stale_pages_total") == 0

    @pytest.mark.parametrize("change", ["follow", "unfollow", "mute", "block", "hide", "report"])
    def test_what_the_owner_asks_for_shows_on_the_next_first_page_and_never_a_stale_one(
        self, pair: Pair, change: str
    ) -> None:
        first = pair.feed("u-new", limit=8)
        target = {"target_type": "author", "target_id": "a3"}
        named = {"story_id": first["items"][0]["story_id"]} if change in ("hide", "report") else target
        pair.served.send(pair.served.event("e1", "u-new", change, **named))
        after = pair.feed("u-new", limit=8)
        assert after["slate"]["cached"] is False
        assert after["slate"]["id"] != first["slate"]["id"]

    def test_the_old_slate_goes_on_serving_its_cursors_validated(self, pair: Pair) -> None:
        first = pair.feed("u-new", limit=8)
        pair.served.send(pair.served.event("e1", "u-new", "mute", target_type="author", target_id="a3"))
        pair.feed("u-new", limit=8)
        old = pair.feed("u-new", limit=50, cursor=first["next_cursor"])
        assert old["slate"]["id"] == first["slate"]["id"]
        assert "a3" not in {item["author_id"] for item in old["items"]}
        wait_until(lambda: pair.count('rex_dropped_total{reason="muted",stage="validate"}') > 0)

    def test_a_read_needs_no_new_slate(self, pair: Pair) -> None:
        first = pair.feed("u-new", limit=8)
        story = first["items"][0]["story_id"]
        pair.served.send(pair.served.event("e1", "u-new", "read", story_id=story))
        after = pair.feed("u-new", limit=8)
        assert after["slate"]["id"] == first["slate"]["id"]
        assert [item["story_id"] for item in after["items"]][:7] == [i["story_id"] for i in first["items"]][1:]

    def test_another_variant_makes_its_own_slate(self, pair: Pair) -> None:
        first = pair.feed("u-new")
        with two_apps(pair.served, OFTEN.model_copy(update={"variant": "bolder"})) as bolder:
            after = bolder.feed("u-new")
        assert (after["slate"]["cached"], after["slate"]["variant"]) == (False, "bolder")
        assert after["slate"]["id"] != first["slate"]["id"]


CHANGES: dict[str, Callable[[FeedServer, Page], object]] = {
    "nothing": lambda s, page: None,
    "a read": lambda s, page: s.send(s.event("e1", "u-fan", "read", story_id=page["items"][0]["story_id"])),
    "a hide": lambda s, page: s.send(s.event("e1", "u-fan", "hide", story_id=page["items"][0]["story_id"])),
    "an unfollow": lambda s, page: s.send(s.event("e1", "u-fan", "unfollow", target_type="author", target_id="a3")),
    "a withdrawal": lambda s, page: s.http.delete(f"/v1/stories/{page['items'][0]['story_id']}"),
    "a new story": lambda s, page: s.http.put("/v1/stories/s-new", json={"published_at": s.now.isoformat()}),
    "an expired slate": lambda s, page: s.client.delete(s.keys.slate("u-fan", page["slate"]["id"])),
    "a newer slate": lambda s, page: s.feed("u-fan", limit=9, fresh=True),
    "a snapshot": lambda s, page: s.publish(STORIES),
    "a clock that went back": lambda s, page: setattr(s, "now", s.now - timedelta(seconds=5)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_process_that_has_answered_before_answers_like_one_that_has_not(served: FeedServer, change: str) -> None:
    served.feed("u-fan", limit=8)
    before = served.feed("u-fan", limit=8)
    served.now += timedelta(seconds=1)
    CHANGES[change](served, before)
    served.feed("u-fan", limit=8)  # where a slate is to be built, it is there for both
    after = served.feed("u-fan", limit=8)
    assert after["request_id"] != before["request_id"]
    with serving(create_app(served.settings, OFTEN, clock=lambda: served.now)) as other:
        assert other.get("/v1/users/u-fan/feed", params={"limit": 8}).json() == after


def test_a_page_is_made_in_one_way_with_and_without_an_event_loop(pair: Pair) -> None:
    pair.feed("u-fan", limit=8)
    feeds = pair.app.state.rex.feeds
    first = pair.feed("u-fan", limit=8)
    assert feeds.feed(FeedRequest("u-fan", limit=8), micros(pair.served.now)) == first
    second = pair.feed("u-fan", limit=8, cursor=first["next_cursor"])
    assert feeds.feed(FeedRequest("u-fan", 8, first["next_cursor"]), micros(pair.served.now)) == second
    pair.served.now += timedelta(seconds=OFTEN.cache.slate_fresh_s * (1 + JITTER) + 1)
    stale = feeds.feed(FeedRequest("u-fan", limit=8), micros(pair.served.now))
    assert stale["slate"]["id"] == first["slate"]["id"]
    assert pair.feed("u-fan", limit=8)["slate"]["id"] != first["slate"]["id"], (
        "the next one was there before the page went out"
    )


def test_a_page_that_is_answered_again_is_in_the_history_as_of_then(served: FeedServer) -> None:
    served.feed("u-fan", limit=8)
    history = served.keys.served_history("u-fan")
    wait_until(lambda: served.client.zcard(history) == 1)
    served.now += timedelta(seconds=1)
    served.feed("u-fan", limit=8)
    wait_until(lambda: served.client.zrange(history, 0, -1, withscores=True)[0][1] == served.now.timestamp() * 1000)


def test_lives_are_spread_by_a_tenth_and_the_same_everywhere() -> None:
    names = [identify("slate", i) for i in range(1000)]
    stretched = [stretch(name) for name in names]
    assert stretched == [stretch(name) for name in names]
    assert 1 - JITTER <= min(stretched) < 1 - 0.9 * JITTER
    assert 1 + 0.9 * JITTER < max(stretched) <= 1 + JITTER
    one_second = OnlineSettings(cache={"slate_ttl_s": 1})
    assert {ttl_s(name, one_second) for name in names} == {1}


def test_bytes_of_slates_are_reported(pair: Pair) -> None:
    page = pair.feed("u-new")
    size = pair.served.client.strlen(pair.served.keys.slate("u-new", page["slate"]["id"]))
    assert pair.count("rex_slate_bytes_sum") == size
    assert pair.count("rex_slate_bytes_count") == 1
