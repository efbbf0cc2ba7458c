"""Follower index and timelines made anew from the lake."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
from rich.progress import Progress

from features.errors import BadInput, Unavailable
from features.settings import Settings
from local.redis_server import Server
from online.settings import OnlineSettings
from online.timelines.rebuild import active_people, rebuild_timelines
from tests.lakes import ago, event, write_lake
from tests.online.small_world import NOW
from tests.online.timeline_site import Site, site


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """u1 and u2 were there lately, u3 long ago."""
    seen = [event("u1", "open", "s0", ago(days=1)), event("u2", "read", "s0", ago(days=29))]
    return write_lake(tmp_path / "lake", events=[*seen, event("u3", "open", "s0", ago(days=40))])


@pytest.fixture
def made(redis_server: Server, redis_client: redis.Redis, tmp_path: Path) -> Site:
    made = site(redis_client, tmp_path)
    made.settings = Settings(var=tmp_path / "var", lake=tmp_path / "lake", redis_url=redis_server.url)
    return made


def rebuilt(made: Site, lake: Path) -> object:
    return rebuild_timelines(made.settings, lake, Progress(disable=True), OnlineSettings(as_if=NOW))


def test_whoever_was_active_in_the_lakes_last_month_counts(lake: Path) -> None:
    assert active_people(lake) == ["u1", "u2"]


def test_undated_events_count_from_when_they_were_received(tmp_path: Path) -> None:
    read = {**event("u1", "read", "s0", ago(days=1)), "occurred_at": None, "received_at": ago(days=2)}
    assert active_people(write_lake(tmp_path / "lake", events=[read])) == ["u1"]


def test_active_people_get_timelines_and_everything_old_goes(made: Site, lake: Path) -> None:
    made.publish("s1", "a1", minutes_ago=5)
    made.edges = {user: {("follow", "author", "a1")} for user in ("u1", "u2", "u3")}
    made.open()
    made.follow("u-stale", "a9")
    made.come_back("u-stale")
    made.client.lpush(made.keys.timeline("u1"), b"something old, without an end")
    done = rebuilt(made, lake)
    assert (done.people, done.targets, done.snapshot) == (2, 1, made.rex.live.get().version)  # type: ignore[attr-defined]
    assert made.listed("u1") == made.listed("u2") == ["s1"]
    assert made.timeline("u3") is None
    assert made.timeline("u-stale") is None
    assert made.followers("a1") == {"u1", "u2"}
    assert made.followers("a9") == set()
    made.publish("s2", "a1")
    made.drain()
    assert made.listed("u1") == ["s2", "s1"], "the worker goes on from there"


def test_nothing_else_goes_whatever_people_are_called(made: Site, lake: Path) -> None:
    made.open()
    for odd in ("x}:timeline:y", "x}:timeline-about:y", "x}:registered:y"):
        made.edge(odd, "mute", "author", "a1")
    rebuilt(made, lake)
    assert len(made.client.keys("*:refusals:*")) == 3, "mutes were forgotten"


def test_without_a_snapshot_it_says_what_to_do(made: Site, lake: Path) -> None:
    with pytest.raises(Unavailable, match="rex publish"):
        rebuilt(made, lake)


def test_without_a_lake_it_says_what_to_do(made: Site, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="REX_LAKE"):
        rebuilt(made, tmp_path / "nowhere")
