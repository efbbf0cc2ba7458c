"""Pages, cursors and explanations over real HTTP and a real Redis."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from online.http.schemas import Explanation
from tests.online.conftest import STORIES, USERS, FeedServer


class TestFeed:
    @pytest.mark.smoke
    def test_a_page_has_the_documented_form(self, served: FeedServer) -> None:
        page = served.feed("u-fan", limit=3)
        first = page["items"][0]
        parts = {"request_id", "items", "next_cursor", "new_count", "story_position", "slate", "degraded"}
        assert set(page) == parts
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

    def test_an_empty_slate_is_cached_like_any_other(self, feed_server: FeedServer) -> None:
        feed_server.publish([])
        assert feed_server.feed("u-new")["slate"]["cached"] is False
        assert feed_server.feed("u-new")["slate"]["cached"] is True

    def test_fresh_ranks_anew(self, served: FeedServer) -> None:
        first = served.feed("u-fan")
        served.now += timedelta(seconds=1)
        assert served.feed("u-fan", fresh=True)["slate"]["id"] != first["slate"]["id"]

    def test_equal_state_and_now_give_equal_bytes(self, served: FeedServer) -> None:
        rankings = [served.http.get("/v1/users/u-fan/feed/explain").json()["slate"] for _ in range(2)]
        assert rankings[0] == rankings[1]  # the id, too; an answered feed would change the state: it is in the history
        served.feed("u-fan")
        assert served.http.get("/v1/users/u-fan/feed").content == served.http.get("/v1/users/u-fan/feed").content

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
        user = served.http.get("/v1/users/u-fan%2Ffeed").json()
        assert (user["user_id"], user["known"]) == ("u-fan/feed", False)
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
        served.publish([*STORIES, {"id": "s-new", "author": "a1", "language": "en", "story_open_rate": 1.0}], USERS)
        assert "s-new" in served.stories("u-new", limit=100)

    def test_a_cached_slate_of_another_form_is_made_anew(self, served: FeedServer) -> None:
        first = served.feed("u-new", limit=5)
        served.client.set(served.keys.slate("u-new", first["slate"]["id"]), b"of another release", ex=60)
        assert served.feed("u-new")["slate"]["cached"] is False


class TestCursors:
    def test_the_pages_of_a_session_partition_the_slate(self, served: FeedServer) -> None:
        page = served.feed("u-new", limit=8)
        seen = page["items"]
        while page["next_cursor"]:
            page = served.feed("u-new", limit=8, cursor=page["next_cursor"])
            seen += page["items"]
        assert sorted(item["story_id"] for item in seen) == [story["id"] for story in STORIES]
        assert [item["position"] for item in seen] == list(range(50))

    def test_a_session_stays_in_its_slate_while_another_one_is_built(self, served: FeedServer) -> None:
        first = served.feed("u-new", limit=8)
        served.now += timedelta(seconds=1)
        served.feed("u-new", fresh=True)
        assert served.feed("u-new", cursor=first["next_cursor"])["slate"]["id"] == first["slate"]["id"]

    def test_forged_and_foreign_cursors_are_refused(self, served: FeedServer) -> None:
        cursor = served.feed("u-new", limit=8)["next_cursor"]
        for user, text in (("u-new", cursor[:-1]), ("u-new", "nonsense"), ("u-other", cursor)):
            answer = served.http.get(f"/v1/users/{user}/feed", params={"cursor": text})
            assert (answer.status_code, answer.json()["type"]) == (400, "urn:rex:invalid_cursor")


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


def test_what_explain_answers_has_the_documented_form(served: FeedServer) -> None:
    path = "/v1/users/u-fan/feed/explain"
    for query in ({}, {"story_id": "s01"}, {"story_id": "s00"}, {"story_id": "s-nowhere"}):
        told = served.http.get(path, params=query).json()
        read_back = Explanation.model_validate(told).model_dump(mode="json", by_alias=True, exclude_unset=True)
        assert read_back == told
