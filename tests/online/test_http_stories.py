"""Stories and snapshots over real HTTP and a real Redis: what acts at once, what is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest
import redis

from features.keys import Keys, hash64
from online.ingest.stories import Story, StoryIntake
from online.service_settings import OnlineSettings
from tests.online.conftest import STORIES, USERS, FeedServer
from tests.online.small_world import NOW


class TestStories:
    def test_a_withdrawal_acts_on_the_very_next_page_of_a_running_session(self, served: FeedServer) -> None:
        first = served.feed("u-new", limit=5)
        coming = served.stories("u-new", limit=5, cursor=first["next_cursor"])
        assert served.http.delete(f"/v1/stories/{coming[0]}").status_code == 202
        after = served.stories("u-new", limit=5, cursor=first["next_cursor"])
        assert after[:4] == coming[1:]

    def test_a_withdrawn_story_published_again_is_back(self, served: FeedServer) -> None:
        served.http.delete("/v1/stories/s01")
        assert "s01" not in served.stories("u-new", limit=100)
        body = {"published_at": "2026-01-30T00:00:00Z", "author_id": "a1"}
        assert served.http.put("/v1/stories/s01", json=body).status_code == 202
        assert "s01" in served.stories("u-other", limit=100)

    def test_a_story_made_unlisted_is_gone_at_once(self, served: FeedServer) -> None:
        body = {"published_at": "2026-01-30T00:00:00Z", "visibility": "unlisted"}
        served.http.put("/v1/stories/s01", json=body)
        assert "s01" not in served.stories("u-new", limit=100)

    @pytest.mark.parametrize(
        "change",
        [{"author_id": "a9", "visibility": "followers"}, {"author_id": "a1", "published_at": "2099-01-01T00:00:00Z"}],
    )
    def test_what_its_new_author_or_date_forbids_is_gone_at_once(
        self, served: FeedServer, change: dict[str, Any]
    ) -> None:
        served.send(served.event("e1", "u-new", "follow", target_type="author", target_id="a1"))
        served.http.put("/v1/stories/s01", json={"published_at": "2026-01-31T10:00:00Z", **change})
        assert "s01" not in served.stories("u-new", limit=100)

    def test_a_clock_that_steps_back_does_not_bring_a_withdrawn_story_back(self, served: FeedServer) -> None:
        served.http.put("/v1/stories/s01", json={"published_at": "2026-01-30T00:00:00Z", "author_id": "a1"})
        served.now -= timedelta(seconds=5)
        served.http.delete("/v1/stories/s01")
        entries = [orjson.loads(fields[b"story"]) for _, fields in served.client.xrange(served.keys.story_stream())]
        assert entries[1]["updated_at"] > entries[0]["updated_at"]

    @pytest.mark.parametrize("withdrawal_comes_last", [True, False])
    def test_of_two_changes_at_once_the_stream_and_the_lake_agree_which_is_the_later(
        self, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, withdrawal_comes_last: bool
    ) -> None:
        keys = Keys()
        slow, fast = (StoryIntake(redis_client, keys, OnlineSettings()) for _ in range(2))
        slow.put("s1", Story(published_at=NOW), NOW)

        def withdraw(intake: StoryIntake, seconds: int) -> None:
            intake.withdraw("s1", NOW + timedelta(seconds=seconds), None)

        def put(intake: StoryIntake, seconds: int) -> None:
            intake.put("s1", Story(published_at=NOW, title="Changed"), NOW + timedelta(seconds=seconds))

        first, second = (put, withdraw) if withdrawal_comes_last else (withdraw, put)
        ordinary, overtaken = slow._append_after, []

        def hesitate(*arguments: Any) -> bytes:
            if not overtaken:
                overtaken.append(True)
                first(fast, 2)
            return ordinary(*arguments)

        monkeypatch.setattr(slow, "_append_after", hesitate)
        second(slow, 1)
        written = [orjson.loads(fields[b"story"]) for _, fields in redis_client.xrange(keys.story_stream())]
        assert len(written) == 3
        assert max(written, key=lambda version: version["updated_at"]) == written[-1]
        assert (written[-1]["deleted_at"] is not None) == withdrawal_comes_last

    def test_withdrawing_what_nobody_knows_answers_404(self, served: FeedServer) -> None:
        assert served.http.delete("/v1/stories/s-nowhere").status_code == 404

    def test_a_story_put_online_but_in_no_snapshot_yet_can_be_withdrawn(self, served: FeedServer) -> None:
        served.http.put("/v1/stories/s-new", json={"published_at": "2026-01-31T00:00:00Z", "topics": []})
        assert served.http.delete("/v1/stories/s-new").status_code == 202

    def test_two_ids_with_one_hash_are_refused(self, served: FeedServer) -> None:
        taken = b'{"story_id": "s-twin", "updated_at": "2026-01-30T00:00:00+00:00"}'
        served.client.hset(
            served.keys.story_documents(), str(hash64("s-mine")), taken
        )  # a collision cannot be had otherwise
        answer = served.http.put("/v1/stories/s-mine", json={"published_at": "2026-01-31T00:00:00Z"})
        assert (answer.status_code, answer.json()["type"]) == (409, "urn:rex:hash_collision")

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"published_at": "yesterday"},
            {"published_at": "2026-01-31T00:00:00Z", "visibility": "secret"},
            {"published_at": "2026-01-31T00:00:00Z", "surprise": 1},
        ],
    )
    def test_a_malformed_story_is_refused(self, served: FeedServer, body: dict[str, Any]) -> None:
        assert served.http.put("/v1/stories/s-new", json=body).status_code == 422


class TestSnapshots:
    def test_a_withdrawal_that_a_snapshot_does_not_cover_survives_the_swap(self, served: FeedServer) -> None:
        served.http.delete("/v1/stories/s01")
        served.publish(STORIES, USERS)  # built from a lake that does not know of the withdrawal
        assert "s01" not in served.stories("u-new", limit=100, fresh=True)

    def test_what_a_snapshot_covers_is_not_replayed(self, served: FeedServer) -> None:
        stream = served.keys.event_stream(served.keys.partition("u-new"))
        on = {"target_type": "author", "target_id": "a7"}
        served.send(served.event("e1", "u-new", "mute", **on))
        covered = served.client.xrevrange(stream, count=1)[0][0].decode()
        served.publish(
            STORIES, USERS, positions={stream: covered}
        )  # a lake that knows of the mute, and of a later unmute
        assert "a7" in {item["author_id"] for item in served.feed("u-new", limit=100, fresh=True)["items"]}

    def test_snapshots_are_listed_newest_first(self, served: FeedServer) -> None:
        version = served.publish(STORIES, USERS)
        listed = served.http.get("/v1/snapshots").json()["snapshots"]
        assert [about["current"] for about in listed] == [True, False]
        assert listed[0]["version"] == version

    def test_a_process_whose_snapshot_was_removed_refuses_rather_than_forget_mutes(self, served: FeedServer) -> None:
        served.send(served.event("e1", "u-fan", "mute", target_type="author", target_id="a7"))
        version = served.feed("u-fan")["slate"]["snapshot"]
        served.client.zrem(served.keys.versions(), version)  # what a publisher does first when it removes one
        answer = served.http.get("/v1/users/u-fan/feed")
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:rex:unavailable")

    def test_before_the_first_snapshot_the_answer_says_what_to_do(self, feed_server: FeedServer) -> None:
        paths = ("/v1/users/u/feed", "/v1/users/u/feed/explain", "/v1/users/u", "/readyz")
        for answer in (*map(feed_server.http.get, paths), feed_server.http.delete("/v1/stories/s01")):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert "rex publish" in answer.json()["detail"]
        assert feed_server.http.get("/healthz").status_code == 200


def test_a_process_far_behind_the_story_stream_reads_on_before_it_answers(
    served: FeedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("online.user.store.STORY_TAIL", 3)
    monkeypatch.setattr("online.feed.snapshot_loader.STORY_TAIL", 3)
    for story in ("s01", "s02", "s03", "s04", "s05"):
        served.http.delete(f"/v1/stories/{story}")
    assert not {"s01", "s02", "s03", "s04", "s05"} & set(served.stories("u-new", limit=100))
