"""What a user said holds, over real HTTP: late and early changes, refusals, blocks, undo, older versions of a story."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from features.times import micros
from tests.online.conftest import STORIES, USERS, FeedServer
from tests.online.small_world import NOW
from tests.online.test_http_delta import on_feed

DAY = timedelta(days=1)
A3 = {"target_type": "author", "target_id": "a3"}
TWINS = [
    {"id": f"twin{i}", "author": f"a-twin{i}", "title": "One title", "duplicate_key": 77, "age_h": 0.5 + i}
    for i in range(3)
]


def dated(served: FeedServer, event_id: str, user: str, kind: str, ago: timedelta, **more: Any) -> dict[str, Any]:
    return served.event(event_id, user, kind, **more) | {"occurred_at": (served.now - ago).isoformat()}


def by_author(served: FeedServer, user: str, author: str, **query: Any) -> list[str]:
    items = served.feed(user, limit=100, **query)["items"]
    return [item["story_id"] for item in items if item["author_id"] == author]


def follows(served: FeedServer, user: str) -> list[str]:
    told: list[str] = served.http.get(f"/v1/users/{user}").json()["follows"]["author"]
    return told


class TestALateChange:
    """The snapshot holds a change of the day before; older ones arrive after it."""

    @pytest.mark.parametrize("kind", ["block", "mute"])
    def test_does_not_take_back_a_refusal_in_the_snapshot(self, feed_server: FeedServer, kind: str) -> None:
        known = {f"{kind}_author": ["a3"], f"{kind}_author_at": [micros(NOW - DAY)]}
        feed_server.publish(STORIES, {"u": known})
        feed_server.send(dated(feed_server, "e1", "u", f"un{kind}", 4 * DAY, **A3))
        assert by_author(feed_server, "u", "a3") == []
        feed_server.send(dated(feed_server, "e2", "u", f"un{kind}", 0 * DAY, **A3))
        assert by_author(feed_server, "u", "a3", fresh=True), "a later one does"

    def test_does_not_end_a_follow_in_the_snapshot(self, feed_server: FeedServer) -> None:
        feed_server.publish(STORIES, {"u": {"follow_author": ["a3"], "follow_author_at": [micros(NOW - DAY)]}})
        feed_server.send(dated(feed_server, "e1", "u", "unfollow", 4 * DAY, **A3))
        assert follows(feed_server, "u") == ["a3"]

    def test_does_not_begin_a_follow_that_the_snapshot_knows_to_have_ended(self, feed_server: FeedServer) -> None:
        feed_server.publish(STORIES, {"u": {"unfollow_author": ["a3"], "unfollow_author_at": [micros(NOW - DAY)]}})
        feed_server.send(dated(feed_server, "e1", "u", "follow", 4 * DAY, **A3))
        assert follows(feed_server, "u") == []

    def test_at_the_time_of_the_one_in_the_snapshot_applies(self, feed_server: FeedServer) -> None:
        feed_server.publish(STORIES, {"u": {"follow_author": ["a3"], "follow_author_at": [micros(NOW - DAY)]}})
        feed_server.send(dated(feed_server, "e1", "u", "unfollow", DAY, **A3))
        assert follows(feed_server, "u") == []

    def test_does_not_take_back_a_hide_in_the_snapshot(self, feed_server: FeedServer) -> None:
        feed_server.publish(STORIES, {"u": {"hidden": ["s03"], "hidden_at": [micros(NOW - DAY)]}})
        feed_server.send(dated(feed_server, "e1", "u", "unhide", 4 * DAY, story_id="s03"))
        assert on_feed(feed_server, "u", "s03") is None
        feed_server.send(dated(feed_server, "e2", "u", "unhide", 0 * DAY, story_id="s03"))
        assert on_feed(feed_server, "u", "s03", fresh=True) is not None


class TestARefusal:
    def test_from_a_slow_clock_holds(self, served: FeedServer) -> None:
        served.send(
            dated(served, "e1", "u", "unblock", timedelta(0), **A3),
            dated(served, "e2", "u", "block", timedelta(hours=1), **A3),
        )
        assert by_author(served, "u", "a3") == []

    def test_is_not_pushed_out_by_later_ones(self, served: FeedServer) -> None:
        served.send(served.event("first", "u", "hide", story_id="s03"))
        for batch in range(3):
            served.now += timedelta(seconds=1)
            served.send(*(served.event(f"h{batch}-{i}", "u", "hide", story_id=f"x{batch}-{i}") for i in range(700)))
        assert on_feed(served, "u", "s03", fresh=True) is None

    @pytest.mark.parametrize("kind", ["hide", "report"])
    def test_can_be_taken_back(self, served: FeedServer, kind: str) -> None:
        served.send(served.event("e1", "u", kind, story_id="s03"))
        assert on_feed(served, "u", "s03") is None
        receipt = served.send(served.event("e2", "u", f"un{kind}", story_id="s03"))
        assert receipt["accepted"] == 1, receipt
        assert on_feed(served, "u", "s03", fresh=True) is not None

    @pytest.mark.parametrize("kind", ["hide", "report", "read"])
    def test_holds_for_the_storys_copies(self, feed_server: FeedServer, kind: str) -> None:
        feed_server.publish([*STORIES, *TWINS])
        (shown,) = [s for s in feed_server.stories("u", limit=100) if s.startswith("twin")]
        feed_server.send(feed_server.event("e1", "u", kind, story_id=shown))
        left = feed_server.stories("u", limit=100, fresh=True)
        assert [s for s in left if s.startswith("twin")] == []

    @pytest.mark.parametrize("kind", ["hide", "report", "read"])
    def test_holds_for_the_copies_of_what_has_another_title_now_or_is_gone(
        self, feed_server: FeedServer, kind: str
    ) -> None:
        feed_server.publish([*STORIES, *TWINS])
        (shown,) = [s for s in feed_server.stories("u", limit=100) if s.startswith("twin")]
        feed_server.send(feed_server.event("e1", "u", kind, story_id=shown))
        changed = {"published_at": "2026-01-31T10:00:00Z", "author_id": "a1", "title": "Corrected"}
        feed_server.http.put(f"/v1/stories/{shown}", json=changed)
        assert [s for s in feed_server.stories("u", limit=100, fresh=True) if s.startswith("twin")] == []
        (key,) = {twin["duplicate_key"] for twin in TWINS}
        others = [twin for twin in TWINS if twin["id"] != shown]
        feed_server.publish([*STORIES, *others], former_keys={shown: key})
        assert [s for s in feed_server.stories("u", limit=100, fresh=True) if s.startswith("twin")] == []


class TestABlock:
    def test_acts_both_ways(self, served: FeedServer) -> None:
        served.http.put(
            "/v1/stories/s-new",
            json={"published_at": "2026-01-31T11:59:00Z", "author_id": "a3", "visibility": "followers"},
        )
        assert on_feed(served, "u-fan", "s-new", fresh=True) is not None
        block = served.event("e1", "a3", "block", target_type="author", target_id="u-fan")
        served.send(block)
        assert by_author(served, "u-fan", "a3") == [], "neither from a cached slate"
        assert by_author(served, "u-fan", "a3", fresh=True) == [], "nor from a new one"
        assert by_author(served, "u-fan", "a3", fresh=True, surface="following") == [], "nor from the timeline"

    def test_ends_the_follows_on_both_sides(self, served: FeedServer) -> None:
        served.send(served.event("e0", "a3", "follow", target_type="author", target_id="u-fan"))
        served.now += timedelta(seconds=1)
        served.send(served.event("e1", "a3", "block", target_type="author", target_id="u-fan"))
        served.now += timedelta(seconds=1)
        served.send(served.event("e2", "a3", "unblock", target_type="author", target_id="u-fan"))
        assert follows(served, "u-fan") == [], "an end is an end, also after the block"
        assert follows(served, "a3") == []
        assert by_author(served, "u-fan", "a3", fresh=True), "they see each other again"

    def test_of_the_snapshot_acts_both_ways(self, feed_server: FeedServer) -> None:
        known = {"follow_author": ["a3"], "blocked_by": ["a3"], "blocked_by_at": [micros(NOW - DAY)]}
        feed_server.publish(STORIES, {"u": known})
        assert by_author(feed_server, "u", "a3") == []
        late = dated(feed_server, "e1", "a3", "unblock", 4 * DAY, target_type="author", target_id="u")
        feed_server.send(late)
        assert by_author(feed_server, "u", "a3") == []
        feed_server.send(feed_server.event("e2", "a3", "unblock", target_type="author", target_id="u"))
        assert by_author(feed_server, "u", "a3", fresh=True)


class TestAnUnfollow:
    def test_takes_what_came_for_the_follow_out_of_the_next_page(self, served: FeedServer) -> None:
        first = served.feed("u-fan", limit=1)
        assert by_author(served, "u-fan", "a3"), "the slate holds the author's stories"
        served.send(served.event("e1", "u-fan", "unfollow", **A3))
        rest = served.feed("u-fan", limit=100, cursor=first["next_cursor"])
        assert [item["story_id"] for item in rest["items"] if item["author_id"] == "a3"] == []


class TestABlockInABatch:
    THEN = ("block", "unblock", "follow")

    @pytest.mark.parametrize("ago", [timedelta(0), timedelta(hours=3)])
    @pytest.mark.parametrize("at_once", [True, False])
    def test_leaves_the_follow_that_came_after_it(self, served: FeedServer, ago: timedelta, at_once: bool) -> None:
        said = [
            dated(served, f"e{n}", "u", kind, ago + timedelta(seconds=10 - n), **A3) for n, kind in enumerate(self.THEN)
        ]
        for batch in [said] if at_once else [[one] for one in said]:
            assert served.send(*batch)["rejected"] == []
        assert follows(served, "u") == ["a3"]
        late = dated(served, "late", "u", "follow", ago + timedelta(seconds=11), target_type="author", target_id="a4")
        served.send(late, dated(served, "blocks", "u", "block", ago, target_type="author", target_id="a4"))
        assert follows(served, "u") == ["a3"]

    def test_that_is_a_repetition_of_another_event_ends_nothing(self, served: FeedServer) -> None:
        served.send(served.event("e1", "u", "follow", **A3))
        assert served.send(served.event("e1", "u", "block", **A3))["duplicates"] == 1
        assert follows(served, "u") == ["a3"]

    def test_of_users_with_spaces_in_their_ids_ends_the_right_follow(self, served: FeedServer) -> None:
        for user in ("a", "a b"):
            served.send(served.event(user, "t", "follow", target_type="author", target_id=user))
        served.send(served.event("b c", "a", "block", target_type="author", target_id="t"))
        served.send(served.event("c", "a b", "block", target_type="author", target_id="t"))
        assert follows(served, "t") == []


class TestAnOlderVersion:
    def put(self, served: FeedServer, updated_at: str | None, **more: Any) -> Any:
        body = {"published_at": "2026-01-31T11:00:00Z", **more} | ({"updated_at": updated_at} if updated_at else {})
        return served.http.put("/v1/stories/s-new", json=body)

    def test_is_ignored_and_told_so(self, served: FeedServer) -> None:
        newer = self.put(served, "2026-01-31T11:30:00Z", visibility="unlisted")
        assert (newer.status_code, newer.json()["applied"]) == (202, True)
        older = self.put(served, "2026-01-31T11:20:00Z")
        assert (older.status_code, older.json()["applied"]) == (202, False)
        assert older.json()["position"] == newer.json()["position"], "that of the version in force"
        assert on_feed(served, "u", "s-new", fresh=True) is None

    def test_does_not_bring_a_withdrawn_story_back(self, served: FeedServer) -> None:
        self.put(served, "2026-01-31T11:30:00Z")
        served.http.delete("/v1/stories/s-new")
        assert self.put(served, "2026-01-31T11:31:00Z").json()["applied"] is False
        assert on_feed(served, "u", "s-new", fresh=True) is None

    def test_is_older_than_the_version_that_only_the_snapshot_knows(self, served: FeedServer) -> None:
        known, changed_h = STORIES[0]["id"], 0.5
        served.publish([{**STORIES[0], "updated_h": changed_h, "visibility": "unlisted"}, *STORIES[1:]], USERS)
        for ago_h, applied in ((changed_h + 0.1, False), (changed_h - 0.1, True)):
            at = served.now - timedelta(hours=ago_h)
            body = {"published_at": "2026-01-31T11:00:00Z", "updated_at": at.isoformat()}
            answer = served.http.put(f"/v1/stories/{known}", json=body)
            assert answer.json()["applied"] is applied
            assert (on_feed(served, "u", known, fresh=True) is not None) is applied

    def test_from_a_clock_too_far_ahead_is_refused(self, served: FeedServer) -> None:
        answer = self.put(served, (served.now + timedelta(seconds=301)).isoformat())
        assert answer.status_code == 422
        assert "updated_at" in answer.text
        assert self.put(served, (served.now + timedelta(seconds=299)).isoformat()).json()["applied"] is True
        assert self.put(served, None, title="Without a time of its own").json()["applied"] is True
