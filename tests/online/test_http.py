"""The API over real HTTP and a real Redis: feeds, cursors, events, stories, operation, and every clear refusal."""

from __future__ import annotations

import itertools
import time
from datetime import timedelta
from typing import Any

import duckdb
import orjson
import pytest

from features.keys import hash64
from tests.online.conftest import FeedServer

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
PEOPLE: dict[str, dict[str, Any]] = {
    "u-fan": {"created_at": [1], "is_member": [1], "follow_author": ["a3"], "read": ["s00"], "read_at": [5]},
}


@pytest.fixture
def served(feed_server: FeedServer) -> FeedServer:
    feed_server.publish(STORIES, PEOPLE)
    return feed_server


class TestFeed:
    def test_a_page_has_the_documented_form(self, served: FeedServer) -> None:
        page = served.feed("u-fan", limit=3)
        first = page["items"][0]
        assert set(page) == {"request_id", "items", "next_cursor", "slate", "degraded"}
        assert first["author_id"] == "a3"
        assert first["reason"] == "From an author you follow"
        assert (first["position"], first["promoted"], first["publication_id"]) == (0, False, None)
        assert first["published_at"].endswith("Z")
        assert page["slate"]["candidates"] == 50
        assert page["slate"]["cached"] is False
        assert page["degraded"] == []

    def test_the_second_first_page_comes_from_the_same_slate(self, served: FeedServer) -> None:
        first, second = served.feed("u-fan"), served.feed("u-fan")
        assert second["slate"]["cached"] is True
        assert second["slate"]["id"] == first["slate"]["id"]
        assert second["items"] == first["items"]

    def test_fresh_ranks_anew(self, served: FeedServer) -> None:
        first = served.feed("u-fan")
        served.now += timedelta(seconds=1)
        assert served.feed("u-fan", fresh=True)["slate"]["id"] != first["slate"]["id"]

    def test_equal_state_and_now_give_equal_bytes(self, served: FeedServer) -> None:
        path = "/v1/users/u-fan/feed?fresh=true"
        assert served.http.get(path).content == served.http.get(path).content

    def test_an_unknown_user_gets_a_newcomers_feed(self, served: FeedServer) -> None:
        assert len(served.stories("never-seen")) == 20

    def test_what_was_read_before_the_snapshot_is_not_shown(self, served: FeedServer) -> None:
        assert "s00" not in served.stories("u-fan", limit=100)
        assert "s00" in served.stories("u-other", limit=100)

    @pytest.mark.parametrize("limit", ["0", "101", "-1", "many"])
    def test_a_limit_outside_1_to_100_is_refused(self, served: FeedServer, limit: str) -> None:
        answer = served.http.get("/v1/users/u-fan/feed", params={"limit": limit})
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        assert "limit" in answer.json()["detail"]

    @pytest.mark.parametrize("user", ["x" * 129, "%00", "a%0Ab", "%F0%9F%98%80" * 33])
    def test_a_malformed_user_id_is_refused(self, served: FeedServer, user: str) -> None:
        assert served.http.get(f"/v1/users/{user}/feed").status_code == 422

    def test_ids_of_128_bytes_and_of_any_script_are_served(self, served: FeedServer) -> None:
        assert served.http.get(f"/v1/users/{'x' * 128}/feed").status_code == 200
        assert served.http.get("/v1/users/ユーザー/feed").status_code == 200

    def test_a_slash_in_an_id_stays_in_the_id(self, served: FeedServer) -> None:
        person = served.http.get("/v1/users/u-fan%2Ffeed").json()
        assert (person["user_id"], person["known"]) == ("u-fan/feed", False)
        url = "https%3A%2F%2Fexample.org%2F1"
        assert served.http.put(f"/v1/stories/{url}", json={"published_at": "2026-01-31T00:00:00Z"}).status_code == 202
        assert served.http.delete(f"/v1/stories/{url}").json()["story_id"] == "https://example.org/1"
        assert served.http.get("/v1/users/a%1Fb/feed").status_code == 422

    def test_a_follower_who_has_read_everything_gets_an_empty_page(self, served: FeedServer) -> None:
        cursor = served.feed("u-fan", limit=45)["next_cursor"]
        reads = [served.event(f"e{s['id']}", "u-fan", "read", story_id=s["id"]) for s in STORIES]
        served.send(*reads)
        assert served.stories("u-fan", cursor=cursor) == []
        assert served.stories("u-fan", fresh=True) == []
        assert served.http.get("/v1/users/u-fan/feed/explain").status_code == 200

    def test_a_new_snapshot_shows_on_the_next_first_page(self, served: FeedServer) -> None:
        served.feed("u-new")
        served.publish([*STORIES, {"id": "s-new", "author": "a1", "language": "en", "story_open_rate": 1.0}], PEOPLE)
        assert "s-new" in served.stories("u-new", limit=100)

    def test_a_cached_slate_of_another_form_is_made_anew(self, served: FeedServer) -> None:
        first = served.feed("u-new", limit=5)
        served.client.set(served.keys.slate("u-new", first["slate"]["id"]), b"of another release", ex=60)
        assert served.feed("u-new")["slate"]["cached"] is False


class TestCursors:
    def test_the_pages_of_a_chain_partition_the_slate(self, served: FeedServer) -> None:
        page = served.feed("u-new", limit=8)
        seen = page["items"]
        while page["next_cursor"]:
            page = served.feed("u-new", limit=8, cursor=page["next_cursor"])
            seen += page["items"]
        assert sorted(item["story_id"] for item in seen) == [story["id"] for story in STORIES]
        assert [item["position"] for item in seen] == list(range(50))

    def test_a_chain_stays_in_its_slate_while_another_one_is_built(self, served: FeedServer) -> None:
        first = served.feed("u-new", limit=8)
        served.now += timedelta(seconds=1)
        served.feed("u-new", fresh=True)
        assert served.feed("u-new", cursor=first["next_cursor"])["slate"]["id"] == first["slate"]["id"]

    def test_an_expired_slate_answers_410(self, served: FeedServer) -> None:
        first = served.feed("u-new", limit=8)
        served.client.delete(served.keys.slate("u-new", first["slate"]["id"]))
        answer = served.http.get("/v1/users/u-new/feed", params={"cursor": first["next_cursor"]})
        assert (answer.status_code, answer.json()["type"]) == (410, "urn:rex:cursor_expired")

    def test_forged_and_foreign_cursors_are_refused(self, served: FeedServer) -> None:
        cursor = served.feed("u-new", limit=8)["next_cursor"]
        for user, text in (("u-new", cursor[:-1]), ("u-new", "nonsense"), ("u-other", cursor)):
            answer = served.http.get(f"/v1/users/{user}/feed", params={"cursor": text})
            assert (answer.status_code, answer.json()["type"]) == (400, "urn:rex:invalid_cursor")


class TestEvents:
    def test_a_read_takes_the_story_out_of_the_very_next_page(self, served: FeedServer) -> None:
        top = served.stories("u-new")[0]
        assert served.send(served.event("e1", "u-new", "read", story_id=top)) == {
            "accepted": 1,
            "duplicates": 0,
            "rejected": [],
        }
        after = served.feed("u-new")
        assert after["slate"]["cached"] is True
        assert top not in [item["story_id"] for item in after["items"]]
        assert len(after["items"]) == 20

    def test_follow_mute_and_their_undoing_act_at_once(self, served: FeedServer) -> None:
        on = {"target_type": "author", "target_id": "a7"}
        served.send(served.event("e1", "u-new", "follow", **on))
        assert served.feed("u-new")["items"][0]["author_id"] == "a7"
        served.send(served.event("e2", "u-new", "unfollow", **on))
        assert all(item["reason"] != "From an author you follow" for item in served.feed("u-new")["items"])
        served.send(served.event("e3", "u-new", "mute", **on))
        assert "a7" not in {item["author_id"] for item in served.feed("u-new", limit=100)["items"]}
        served.send(served.event("e4", "u-new", "unmute", **on))
        assert "a7" in {item["author_id"] for item in served.feed("u-new", limit=100)["items"]}

    def test_edges_arriving_out_of_order_end_as_the_latest_says(self, served: FeedServer) -> None:
        on = {"target_type": "author", "target_id": "a7"}
        late = served.event("e1", "u-new", "mute", **on) | {
            "occurred_at": (served.now - timedelta(hours=1)).isoformat()
        }
        served.send(served.event("e2", "u-new", "unmute", **on), late)
        assert "a7" in {item["author_id"] for item in served.feed("u-new", limit=100)["items"]}

    def test_a_clock_ahead_does_not_put_a_change_behind_a_later_one(self, served: FeedServer) -> None:
        on = {"target_type": "author", "target_id": "a7"}
        ahead = {"occurred_at": (served.now + timedelta(seconds=290)).isoformat()}
        served.send(served.event("e1", "u-new", "unmute", **on) | ahead)
        served.send(served.event("e2", "u-new", "mute", **on))
        assert "a7" not in {item["author_id"] for item in served.feed("u-new", limit=100)["items"]}

    def test_a_follow_between_the_ranking_and_the_next_first_page_shows_there(self, served: FeedServer) -> None:
        prepared_before = served.feed("u-new")  # a slate that does not know of the follow becomes the newest one
        served.send(served.event("e1", "u-new", "follow", target_type="author", target_id="a7"))
        key = served.keys.latest_slates("u-new")
        served.client.hset(key, "home", prepared_before["slate"]["id"])  # as a slower worker would leave it
        assert served.feed("u-new")["items"][0]["author_id"] == "a7"

    def test_two_people_whose_ids_and_event_ids_run_together_do_not_collide(self, served: FeedServer) -> None:
        assert served.keys.event_seen("x", "6:e1") != served.keys.event_seen("x:6", "e1")

    def test_an_event_from_before_1970_is_malformed(self, served: FeedServer) -> None:
        ancient = served.event("e1", "u-new", "open", story_id="s01") | {"occurred_at": "0001-01-01T00:00:00+14:00"}
        assert served.send(ancient)["rejected"][0]["code"] == "malformed"

    def test_an_event_counts_once(self, served: FeedServer) -> None:
        event = served.event("e1", "u-new", "clap", story_id="s01", claps=3)
        assert served.send(event, event)["duplicates"] == 1
        assert served.send(event) == {"accepted": 0, "duplicates": 1, "rejected": []}
        assert served.client.xlen(served.keys.event_stream(served.keys.partition("u-new"))) == 1

    def test_bad_events_are_named_one_by_one_and_the_good_ones_accepted(self, served: FeedServer) -> None:
        good = served.event("e-good", "u-new", "open", story_id="s01")
        bad = [
            served.event("e1", "u-new", "ponder", story_id="s01"),
            served.event("e2", "", "open", story_id="s01"),
            served.event("e3", "u-new", "open"),
            served.event("e4", "u-new", "follow", target_type="author"),
            served.event("e5", "u-new", "read", story_id="s01", dwell_s=-1),
            {**good, "event_id": "e6", "occurred_at": (served.now + timedelta(hours=1)).isoformat()},
            {**good, "event_id": "e7", "occurred_at": "2026-01-01T00:00:00"},
            {**good, "event_id": None},
            {**good, "event_id": "e9", "surprise": 1},
            "not an object",
        ]
        receipt = served.send(*bad, good)
        assert receipt["accepted"] == 1
        assert [r["index"] for r in receipt["rejected"]] == list(range(len(bad)))
        assert {r["code"] for r in receipt["rejected"]} == {"malformed", "in_the_future"}
        assert "ponder" not in receipt["rejected"][1]["detail"]
        assert "story_id" in receipt["rejected"][2]["detail"]

    def test_nan_is_not_json_and_is_refused_whole(self, served: FeedServer) -> None:
        body = b'{"events": [{"dwell_s": NaN}]}'
        answer = served.http.post("/v1/events", content=body, headers={"content-type": "application/json"})
        assert answer.status_code in (202, 422)
        if answer.status_code == 202:
            assert answer.json()["accepted"] == 0

    def test_more_than_a_thousand_events_are_refused(self, served: FeedServer) -> None:
        event = served.event("e1", "u-new", "open", story_id="s01")
        answer = served.http.post("/v1/events", json={"events": [event] * 1001})
        assert (answer.status_code, answer.json()["type"]) == (413, "urn:rex:too_many_events")

    def test_accepted_events_reach_the_lake(self, served: FeedServer) -> None:
        served.send(
            served.event("e1", "u-new", "read", story_id="s01", dwell_s=12.5, position=0, propensity=1.0),
            served.event("e2", "u-new", "mute", target_type="topic", target_id="t1"),
        )
        served.http.delete("/v1/stories/s02")
        raw = served.settings.lake / "raw"
        wait_until(lambda: (raw / "edges").exists() and (raw / "stories").exists() and (raw / "events").exists())
        event = duckdb.sql(
            f"SELECT event_id, user_id, type, dwell_s, dt::VARCHAR FROM '{raw}/events/*/*.parquet'"
        ).fetchall()
        assert event == [("e1", "u-new", "read", 12.5, str(served.now.date()))]
        assert duckdb.sql(f"SELECT kind, op, target_id FROM '{raw}/edges/*.parquet'").fetchall() == [
            ("mute", "add", "t1")
        ]
        story = duckdb.sql(f"SELECT story_id, title, deleted_at IS NOT NULL FROM '{raw}/stories/*.parquet'").fetchall()
        assert story == [("s02", "Title 2", True)]


class TestStories:
    def test_a_withdrawal_acts_on_the_very_next_page_of_a_running_chain(self, served: FeedServer) -> None:
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
    def test_what_the_snapshot_cannot_judge_any_more_waits_for_the_next(
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
        served.publish(STORIES, PEOPLE)  # built from a lake that does not know of the withdrawal
        assert "s01" not in served.stories("u-new", limit=100, fresh=True)

    def test_what_a_snapshot_covers_leaves_the_overlay(self, served: FeedServer) -> None:
        stream = served.keys.event_stream(served.keys.partition("u-new"))
        on = {"target_type": "author", "target_id": "a7"}
        served.send(served.event("e1", "u-new", "mute", **on))
        covered = served.client.xrevrange(stream, count=1)[0][0].decode()
        served.publish(
            STORIES, PEOPLE, positions={stream: covered}
        )  # a lake that knows of the mute, and of a later unmute
        assert "a7" in {item["author_id"] for item in served.feed("u-new", limit=100, fresh=True)["items"]}

    def test_snapshots_are_listed_newest_first(self, served: FeedServer) -> None:
        version = served.publish(STORIES, PEOPLE)
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


class TestExplain:
    def test_the_funnel_adds_up(self, served: FeedServer) -> None:
        stages = served.http.get("/v1/users/u-fan/feed/explain").json()["stages"]
        assert [stage["stage"] for stage in stages] == [
            "aggregate", "preprocess", "annotate", "rank", "postprocess", "cache", "validate",
        ]  # fmt: skip
        for before, after in itertools.pairwise(stages):
            assert after["in"] == before["out"]
            assert after["in"] - sum(after["dropped"].values()) == after["out"]

    def test_a_ranked_storys_contributions_add_up_to_its_score(self, served: FeedServer) -> None:
        item = served.feed("u-fan")["items"][0]
        path = f"/v1/users/u-fan/feed/explain?story_id={item['story_id']}"
        story = served.http.get(path).json()["story"]
        assert story["sources"] == item["sources"]
        assert sum(story["contributions"].values()) == pytest.approx(story["score"], abs=1e-5)
        assert story["score"] == pytest.approx(item["score"])
        assert story["positions"]["validate"] == 0

    def test_a_dropped_storys_rule_is_named(self, served: FeedServer) -> None:
        story = served.http.get("/v1/users/u-fan/feed/explain?story_id=s00").json()["story"]
        assert story["dropped_by"] == "already_read"
        assert served.http.get("/v1/users/u-fan/feed/explain?story_id=s-nowhere").json()["story"]["known"] is False

    def test_explaining_leaves_no_slate_behind(self, served: FeedServer) -> None:
        served.http.get("/v1/users/u-fan/feed/explain")
        assert served.feed("u-fan")["slate"]["cached"] is False


def test_a_person_is_told_as_known_now(served: FeedServer) -> None:
    served.send(
        served.event("e1", "u-fan", "follow", target_type="author", target_id="a1"),
        served.event("e2", "u-fan", "read", story_id="s05"),
    )
    person = served.http.get("/v1/users/u-fan").json()
    assert person["follows"]["author"] == ["a1", "a3"] or person["follows"]["author"] == ["a3", "a1"]
    assert person["recent_reads"] == ["s05", "s00"]
    assert (person["is_member"], person["known"], person["profile_age_s"] > 0) == (True, True, True)
    assert served.http.get("/v1/users/never-seen").json()["known"] is False


def test_metrics_count_pages_drops_and_problems(served: FeedServer) -> None:
    served.feed("u-fan")
    served.http.get("/v1/users/u-fan/feed?limit=0")
    text = served.http.get("/metrics").text
    assert 'rex_pages_total{cached="false"} 1.0' in text
    assert 'rex_dropped_total{reason="already_read",stage="preprocess"} 1.0' in text
    assert 'rex_problems_total{type="invalid_request"} 1.0' in text


def test_every_key_but_the_snapshots_has_a_ttl(served: FeedServer) -> None:
    served.feed("u-fan")
    served.send(
        served.event("e1", "u-fan", "follow", target_type="author", target_id="a1"),
        served.event("e2", "u-fan", "read", story_id="s05"),
    )
    served.http.delete("/v1/stories/s01")
    kept = (
        "{snap}",
        "snap:",
        "blob:",
        "people:",
        ":events",
        "{stories}:stream",
    )  # bounded by snapshots_kept and trimming
    for key in served.client.scan_iter("*"):
        if not any(part in key.decode() for part in kept):
            assert served.client.ttl(key) > 0, f"{key!r} has no TTL"


def wait_until(condition: Any, within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def test_a_process_far_behind_the_story_stream_reads_on_before_it_answers(
    served: FeedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("online.store.STORY_TAIL", 3)
    monkeypatch.setattr("online.live.STORY_TAIL", 3)
    for story in ("s01", "s02", "s03", "s04", "s05"):
        served.http.delete(f"/v1/stories/{story}")
    assert not {"s01", "s02", "s03", "s04", "s05"} & set(served.stories("u-new", limit=100))
