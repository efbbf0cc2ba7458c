"""Redis goes away and comes back; values in it are damaged: the service refuses clearly and recovers by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import redis

from batch.publish import publish_content
from features.errors import Unavailable
from features.keys import hash64
from features.settings import Settings
from features.snapshot_reader import profile_place, read_manifest
from online.streams.archiver import archive, read_positions
from rex.cli.in_process import loaded
from rex.local.redis_server import Server, server
from tests.online.conftest import STORIES, USERS, FeedServer, wait_until
from tests.online.small_world import content


class TestRedisGone:
    @pytest.fixture
    def redis_server(self, tmp_path: Path) -> Iterator[Server]:
        """A server of its own, because it is going to be killed."""
        with server(tmp_path / "own-redis") as running:
            yield running

    @pytest.fixture
    def redis_client(self, redis_server: Server) -> Iterator[redis.Redis]:
        with redis_server.client() as client:
            yield client

    def test_feeds_answer_503_while_redis_is_gone_and_come_back_with_it(
        self, feed_server: FeedServer, redis_server: Server
    ) -> None:
        feed_server.publish(STORIES, USERS)
        before = feed_server.stories("u-fan")
        redis_server.kill()
        event = feed_server.event("e1", "u-fan", "read", story_id="s01")
        for answer in (
            feed_server.http.get("/v1/users/u-fan/feed"),
            feed_server.http.get("/readyz"),
            feed_server.http.post("/v1/events", json={"events": [event]}),
            feed_server.http.delete("/v1/stories/s01"),
        ):
            assert answer.status_code == 503, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
        assert feed_server.http.get("/healthz").status_code == 200
        redis_server.restart()
        wait_until(lambda: feed_server.http.get("/readyz").status_code == 200)
        assert feed_server.stories("u-fan", fresh=True) == before


def test_a_damaged_profile_refuses_the_feed_because_mutes_may_be_in_it(feed_server: FeedServer) -> None:
    version = feed_server.publish(STORIES, USERS)
    manifest = read_manifest(feed_server.client, feed_server.keys, version)
    bucket, place = profile_place(manifest, hash64("u-fan"))
    feed_server.client.hset(feed_server.keys.users(bucket), place, b"damaged")
    answer = feed_server.http.get("/v1/users/u-fan/feed")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:rex:corrupt_value")
    assert feed_server.http.get("/v1/users/u-other/feed").status_code == 200


def test_a_damaged_snapshot_is_not_loaded_and_the_one_at_hand_is_served_on(feed_server: FeedServer) -> None:
    version = feed_server.publish(STORIES, USERS)
    feed_server.client.set(feed_server.keys.manifest("broken"), b"{}")
    feed_server.client.set(feed_server.keys.current(), "broken")
    assert feed_server.feed("u-fan")["slate"]["snapshot"] == version


class TestRedisEmptied:
    """FLUSHALL, or a restart without persistence: the publishing sequence starts again, and every snapshot is gone."""

    def test_the_service_says_so_and_recovers_with_the_next_snapshot(self, feed_server: FeedServer) -> None:
        first = feed_server.publish(STORIES, USERS)
        assert feed_server.feed("u-fan")["items"][0]["title"].startswith("Title")
        feed_server.client.flushall()
        for asked in ("/readyz", "/v1/users/u-fan/feed"):
            answer = feed_server.http.get(asked)
            assert answer.status_code == 503, f"{asked}: {answer.text}"
            assert f"snapshot {first} is not in Redis any more" in answer.json()["detail"]
        feed_server.published = 0  # the same moment and the same number, with other content
        again = feed_server.publish([{**story, "title": "Corrected"} for story in STORIES], USERS)
        assert again != first, "two contents share a name"
        assert {item["title"] for item in feed_server.feed("u-fan")["items"]} == {"Corrected"}
        assert feed_server.http.get("/readyz").status_code == 200

    def test_what_is_held_is_compared_by_content(self, served: FeedServer) -> None:
        version = served.http.get("/readyz").json()["snapshot"]
        other = content([{**STORIES[0], "title": "Corrected"}], USERS, served.now - timedelta(hours=11))
        served.client.flushall()
        published = publish_content(lambda: other, served.client, served.keys, now=served.now, kept=3)
        served.client.set(served.keys.manifest(version), replace(published, version=version).encode())
        served.client.zadd(served.keys.versions(), {version: 1})
        served.client.set(served.keys.current(), version)  # as an earlier release named it: by moment and number alone
        wait_until(lambda: served.http.get("/readyz").json().get("stories") == 1)


def test_without_a_snapshot_the_command_line_service_says_what_to_do(
    redis_client: redis.Redis, redis_server: Server, tmp_path: Path
) -> None:
    settings = Settings(var=tmp_path, redis_url=redis_server.url)
    with pytest.raises(Unavailable, match="rex publish"), loaded(settings):
        pass


def test_events_archived_twice_after_a_crash_are_exact_repeats(feed_server: FeedServer, tmp_path: Path) -> None:
    import duckdb

    feed_server.publish(STORIES, USERS)
    feed_server.send(feed_server.event("e1", "u-fan", "read", story_id="s01"))
    lakes = [tmp_path / "one", tmp_path / "two"]
    moved = [archive(feed_server.client, feed_server.keys, lake) for lake in lakes]
    assert moved == [1, 1]
    one, two = (duckdb.sql(f"SELECT * FROM '{lake}/raw/events/*/*.parquet'").to_arrow_table() for lake in lakes)
    assert one.equals(two)
    assert one["event_id"].to_pylist() == ["e1"]
    assert archive(feed_server.client, feed_server.keys, lakes[0]) == 0
    stream = feed_server.keys.event_stream(feed_server.keys.partition("u-fan"))
    assert list(read_positions(lakes[0])) == [stream]


def test_a_second_archiver_leaves_the_work_to_the_first(
    redis_client: redis.Redis, feed_server: FeedServer, tmp_path: Path
) -> None:
    feed_server.publish(STORIES, USERS)
    with redis_client.lock(feed_server.keys.archive_lease(), timeout=30):
        feed_server.send(feed_server.event("e1", "u-fan", "read", story_id="s01"))
        assert archive(redis_client, feed_server.keys, tmp_path / "lake") == 0
    assert archive(redis_client, feed_server.keys, tmp_path / "lake") == 1
