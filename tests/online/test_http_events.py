"""Events over real HTTP and a real Redis: each acts at once and once, bad ones are named, all reach the lake."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import duckdb
import numpy as np
import orjson
import pytest
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from features.keys import hash64
from online.http.middleware import MAX_BODY_BYTES, BodyLimit, BodyTooLarge
from online.service_settings import OnlineSettings
from online.user.user import INTERACTION, UserState
from tests.online.conftest import FeedServer, wait_until

JSON = {"content-type": "application/json"}


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
        late = served.event("e1", "u-new", "unmute", **on) | {
            "occurred_at": (served.now - timedelta(hours=1)).isoformat()
        }
        served.send(served.event("e2", "u-new", "mute", **on), late)
        assert "a7" not in {item["author_id"] for item in served.feed("u-new", limit=100)["items"]}

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

    def test_two_users_whose_ids_and_event_ids_run_together_do_not_collide(self, served: FeedServer) -> None:
        assert served.keys.event_seen("x", "6:e1") != served.keys.event_seen("x:6", "e1")

    @pytest.mark.parametrize(
        "wrong",
        [
            {"occurred_at": "0001-01-01T00:00:00+14:00"},
            {"occurred_at": "1970-01-20T00:00:00Z"},
            {"user_id": "undefined"},
        ],
        ids=lambda wrong: next(iter(wrong.values())),
    )
    def test_what_the_batch_would_refuse_is_malformed(self, served: FeedServer, wrong: dict[str, str]) -> None:
        event = served.event("e1", "u-new", "open", story_id="s01") | wrong
        assert served.send(event)["rejected"][0]["code"] == "malformed"

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
        codes = [r["code"] for r in receipt["rejected"]]
        assert (codes.pop(0), codes.pop(4)) == ("unknown_type", "in_the_future")
        assert set(codes) == {"malformed"}
        assert "ponder" not in receipt["rejected"][1]["detail"]
        assert "story_id" in receipt["rejected"][2]["detail"]

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
    def test_a_number_that_is_none_is_refused(self, served: FeedServer, number: str) -> None:
        event = orjson.dumps(served.event("e1", "u-new", "read", story_id="s01")).decode()
        body = f'{{"events": [{event[:-1]}, "dwell_s": {number}}}]}}'
        answer = served.http.post("/v1/events", content=body, headers=JSON)
        assert answer.status_code == 202
        assert (answer.json()["accepted"], answer.json()["rejected"][0]["code"]) == (0, "malformed")

    def test_more_than_a_thousand_events_are_refused(self, served: FeedServer) -> None:
        event = served.event("e1", "u-new", "open", story_id="s01")
        answer = served.http.post("/v1/events", json={"events": [event] * 1001})
        assert (answer.status_code, answer.json()["type"]) == (413, "urn:rex:too_many_events")

    def test_an_unknown_type_is_told_the_known_ones(self, served: FeedServer) -> None:
        (refused,) = served.send(served.event("e1", "u-new", "ponder", story_id="s01"))["rejected"]
        assert refused["code"] == "unknown_type"
        assert all(known in refused["detail"] for known in ("'ponder'", "impression", "unfollow"))

    def test_an_event_too_large_is_named_and_its_batch_mates_are_accepted(self, served: FeedServer) -> None:
        large = served.event("e1", "u-new", "open", story_id="s01", surprise="x" * 20_000)
        nested: object = "deep"
        for _ in range(300):
            nested = [nested]
        good = served.event("e2", "u-new", "open", story_id="s01")
        receipt = served.send(large, nested, good)  # type: ignore[arg-type]
        assert receipt["accepted"] == 1
        assert [r["code"] for r in receipt["rejected"]] == ["oversized", "malformed"]
        assert "16384" in receipt["rejected"][0]["detail"]

    def test_an_answer_does_not_echo_long_mistakes(self, served: FeedServer) -> None:
        answer = served.send(served.event("e1", "u-new", "open", story_id="s01", **{"k" * 8000: 1, "j" * 8000: 2}))
        assert len(answer["rejected"][0]["detail"]) <= 300

    def test_a_body_too_large_is_refused_by_its_declared_length(self, served: FeedServer) -> None:
        answer = served.http.post("/v1/events", content=b"[" * (MAX_BODY_BYTES + 1), headers=JSON)
        assert (answer.status_code, answer.json()["type"]) == (413, "urn:rex:body_too_large")

    def test_a_body_without_a_length_is_refused_as_well(self, served: FeedServer) -> None:
        answer = served.http.post("/v1/events", content=(b" " * 1024 * 1024 for _ in range(6)), headers=JSON)
        assert (answer.status_code, answer.json()["type"]) == (413, "urn:rex:body_too_large")

    def test_of_a_body_too_large_no_more_is_read_than_the_limit(self) -> None:
        chunk, taken = b" " * 65_536, []

        async def receive() -> Message:
            taken.append(len(chunk))
            return {"type": "http.request", "body": chunk, "more_body": True}

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            async for _ in Request(scope, receive).stream():
                pass

        scope = {"type": "http", "headers": []}
        with pytest.raises(BodyTooLarge):
            asyncio.run(BodyLimit(app)(scope, receive, receive))  # type: ignore[arg-type]
        assert MAX_BODY_BYTES < sum(taken) <= MAX_BODY_BYTES + len(chunk)

    def test_what_is_no_json_is_refused(self, served: FeedServer) -> None:
        for body in (b"{", b"\xff", b"[" * 100_000, b'{"events": [' + b"9" * 5000 + b"]}"):
            answer = served.http.post("/v1/events", content=body, headers=JSON)
            assert answer.status_code in (400, 422), (body[:20], answer.text)
            assert answer.headers["content-type"] == "application/problem+json"

    def test_an_open_is_known_and_hides_nothing(self, served: FeedServer) -> None:
        top = served.stories("u-new")[0]
        served.send(served.event("e1", "u-new", "open", story_id=top))
        interactions = np.frombuffer(
            b"".join(served.client.zrange(served.keys.interactions("u-new"), 0, -1)), INTERACTION
        )
        assert UserState("u-new", hash64("u-new"), interactions=interactions).stories("open").tolist() == [hash64(top)]
        assert top in served.stories("u-new")

    def test_an_event_id_is_remembered_to_the_last_moment_of_its_window(self, served: FeedServer) -> None:
        event = served.event("e1", "u-new", "clap", story_id="s01")
        served.send(event)
        remembered = served.keys.event_seen("u-new", "e1")
        window_ms = OnlineSettings().ingest.event_window_s * 1000
        assert 48 * 3600 * 1000 - 60_000 < served.client.pttl(remembered) <= window_ms
        served.client.pexpire(remembered, 1000)  # as after the window less a second
        assert served.send(event)["duplicates"] == 1
        assert served.client.pttl(remembered) <= 1000, "a repetition must not renew the window"
        wait_until(lambda: not served.client.exists(remembered))
        assert served.send(event)["accepted"] == 1

    def test_accepted_events_reach_the_lake(self, served: FeedServer) -> None:
        served.send(
            served.event("e1", "u-new", "read", story_id="s01", dwell_s=12.5, position=0, propensity=1.0),
            served.event("e2", "u-new", "mute", target_type="topic", target_id="t1"),
        )
        served.http.delete("/v1/stories/s02")
        raw = served.settings.lake / "raw"
        files = ("events/dt=*/*.parquet", "edges/*.parquet", "stories/*.parquet")
        wait_until(lambda: all(any(raw.glob(pattern)) for pattern in files))
        event = duckdb.sql(
            f"SELECT event_id, user_id, type, dwell_s, dt::VARCHAR FROM '{raw}/events/*/*.parquet'"
        ).fetchall()
        assert event == [("e1", "u-new", "read", 12.5, str(served.now.date()))]
        assert duckdb.sql(f"SELECT kind, op, target_id FROM '{raw}/edges/*.parquet'").fetchall() == [
            ("mute", "add", "t1")
        ]
        story = duckdb.sql(f"SELECT story_id, title, deleted_at IS NOT NULL FROM '{raw}/stories/*.parquet'").fetchall()
        assert story == [("s02", "Title 2", True)]
