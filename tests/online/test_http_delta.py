"""Stories put online, over real HTTP: what acts at once, and what becomes of it when snapshots change."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from batch.versions import rollback
from tests.online.conftest import STORIES, USERS, FeedServer, wait_until

PUT_AT = "2026-01-31T11:59:00Z"
"""A minute before now."""


def put(served: FeedServer, story_id: str, **more: Any) -> str:
    """Puts a story; returns its position in the story stream."""
    answer = served.http.put(f"/v1/stories/{story_id}", json={"published_at": PUT_AT, **more})
    assert answer.status_code == 202, answer.text
    position: str = answer.json()["position"]
    return position


def on_feed(served: FeedServer, user: str, story_id: str, **query: Any) -> dict[str, Any] | None:
    """The story's item on a page of a hundred; None: it is not there."""
    items = served.feed(user, limit=100, **query)["items"]
    return next((item for item in items if item["story_id"] == story_id), None)


def gauge(served: FeedServer, name: str) -> float:
    line = next(line for line in served.http.get("/metrics").text.splitlines() if line.startswith(f"{name} "))
    return float(line.split()[1])


class TestAPutStory:
    def test_is_in_the_next_fresh_feed_as_it_was_put(self, served: FeedServer) -> None:
        put(served, "s-new", author_id="a-new", publication_id="p-new", topics=["t-new", "t1"], title="Brand new")
        item = on_feed(served, "u-new", "s-new", fresh=True)
        assert item is not None
        told = {name: item[name] for name in ("author_id", "publication_id", "topics", "title", "published_at")}
        assert told == {
            "author_id": "a-new",
            "publication_id": "p-new",
            "topics": ["t-new", "t1"],
            "title": "Brand new",
            "published_at": PUT_AT,
        }
        assert item["sources"] == ["fresh_stories"]

    @pytest.mark.parametrize(
        ("target_type", "target_id", "reason"),
        [
            ("author", "a-new", "From an author you follow"),
            ("publication", "p-new", "From p-new, which you follow"),
            ("topic", "t-new", "About t-new, which you follow"),
        ],
    )
    def test_can_be_found_through_what_no_snapshot_has_named_yet(
        self, served: FeedServer, target_type: str, target_id: str, reason: str
    ) -> None:
        served.send(served.event("e1", "u-1", "follow", target_type=target_type, target_id=target_id))
        put(served, "s-new", author_id="a-new", publication_id="p-new", topics=["t-new"])
        item = on_feed(served, "u-1", "s-new", fresh=True)
        assert item is not None
        assert item["reason"] == reason
        assert served.http.get("/v1/users/u-1").json()["follows"][target_type] == [target_id]

    def test_is_not_shown_before_its_date(self, served: FeedServer) -> None:
        later = served.now + timedelta(hours=1)
        put(served, "s-later", published_at=later.isoformat())
        assert on_feed(served, "u-1", "s-later", fresh=True) is None
        served.now = later
        assert on_feed(served, "u-1", "s-later", fresh=True) is not None

    def test_is_a_near_duplicate_of_another_with_the_same_words(self, served: FeedServer) -> None:
        put(served, "s-first", author_id="a-new", title="Ten Ways to Sleep!")
        put(served, "s-second", author_id="a-newer", title="to sleep: ten WAYS")
        assert len({"s-first", "s-second"} & set(served.stories("u-1", limit=100, fresh=True))) == 1

    def test_withdrawn_again_is_in_no_feed(self, served: FeedServer) -> None:
        put(served, "s-new")
        assert on_feed(served, "u-1", "s-new") is not None
        served.http.delete("/v1/stories/s-new")
        assert on_feed(served, "u-1", "s-new") is None
        assert on_feed(served, "u-1", "s-new", fresh=True) is None


class TestAChangedStory:
    def test_of_another_author_and_date_stays_in_feeds_with_both(self, served: FeedServer) -> None:
        put(served, "s01", author_id="a-new")
        item = on_feed(served, "u-1", "s01", fresh=True)
        assert item is not None
        assert (item["author_id"], item["published_at"]) == ("a-new", PUT_AT)

    def test_with_a_muted_topic_leaves_the_slate_that_was_built_before(self, served: FeedServer) -> None:
        served.send(served.event("e1", "u-1", "mute", target_type="topic", target_id="t-nobody-has"))
        assert on_feed(served, "u-1", "s01") is not None
        put(served, "s01", author_id="a1", topics=["t1", "t-nobody-has"])
        page = served.feed("u-1", limit=100)
        assert page["slate"]["cached"]
        assert "s01" not in {item["story_id"] for item in page["items"]}

    def test_of_an_author_who_is_followed_comes_as_theirs(self, served: FeedServer) -> None:
        put(served, "s01", author_id="a3", title="Changed")
        item = on_feed(served, "u-fan", "s01", fresh=True)
        assert item is not None
        assert item["reason"] == "From an author you follow"
        assert item["title"] == "Changed"

    def test_of_an_author_who_is_not_followed_any_more_tells_another_reason(self, served: FeedServer) -> None:
        before = on_feed(served, "u-fan", "s03")
        put(served, "s03", author_id="a-new")
        assert on_feed(served, "u-fan", "s03") is None, "it came for the follow"
        after = on_feed(served, "u-fan", "s03", fresh=True)
        assert before is not None
        assert after is not None
        assert "followed_authors" in before["sources"]
        assert after["sources"] == ["fresh_stories"]

    def test_is_one_candidate_and_its_old_form_none(self, served: FeedServer) -> None:
        put(served, "s01", author_id="a3")
        put(served, "s01", author_id="a4")
        funnel = served.http.get("/v1/users/u-fan/feed/explain", params={"story_id": "s01"}).json()
        assert funnel["stages"][0]["out"] == len(STORIES)
        assert funnel["story"]["sources"] == ["fresh_stories"]


class TestSnapshotsAndTheStream:
    """Of s01 a withdrawal and of a3 an unfollow, after a story put; which of it a snapshot's lake holds, its positions say."""

    @pytest.fixture
    def positions(self, served: FeedServer) -> dict[str, dict[str, str]]:
        """Positions before both, and after both."""
        events = served.keys.event_stream(served.keys.partition("u-fan"))
        served.send(served.event("e0", "u-fan", "mute", target_type="author", target_id="a9"))
        muted = served.client.xrevrange(events, count=1)[0][0].decode()
        before = {served.keys.story_stream(): put(served, "s-early", author_id="a3"), events: muted}
        withdrawn = served.http.delete("/v1/stories/s01").json()["position"]
        served.send(served.event("e1", "u-fan", "unfollow", target_type="author", target_id="a3"))
        unfollowed = served.client.xrevrange(events, count=1)[0][0].decode()
        return {"before": before, "after": {served.keys.story_stream(): withdrawn, events: unfollowed}}

    early = (*STORIES, {"id": "s-early", "author": "a3", "age_h": 1 / 60})
    fan = USERS["u-fan"]

    def stale(self, served: FeedServer, before: dict[str, str]) -> str:
        """Publishes a snapshot whose lake holds neither."""
        return served.publish(list(self.early), {"u-fan": {**self.fan, "mute_author": ["a9"]}}, positions=before)

    def covering(self, served: FeedServer, after: dict[str, str]) -> str:
        """Publishes a snapshot whose lake holds both."""
        stories = [story for story in self.early if story["id"] != "s01"]
        return served.publish(
            stories, {"u-fan": {"read": ["s00"], "read_at": [5], "mute_author": ["a9"]}}, positions=after
        )

    def both_are_gone(self, served: FeedServer) -> bool:
        items = served.feed("u-fan", limit=100, fresh=True)["items"]
        followed = served.http.get("/v1/users/u-fan").json()["follows"]["author"]
        sources = {source for item in items for source in item["sources"]}
        return followed == [] and "followed_authors" not in sources and "s01" not in {i["story_id"] for i in items}

    def test_a_stale_snapshot_resurrects_neither(
        self, served: FeedServer, positions: dict[str, dict[str, str]]
    ) -> None:
        assert self.both_are_gone(served)
        version = self.stale(served, positions["before"])
        assert served.feed("u-fan", fresh=True)["slate"]["snapshot"] == version
        assert self.both_are_gone(served)

    def test_a_snapshot_that_holds_them_leaves_nothing_to_replay(
        self, served: FeedServer, positions: dict[str, dict[str, str]]
    ) -> None:
        wait_until(lambda: gauge(served, "rex_delta_rows") == 1)  # s-early
        self.covering(served, positions["after"])
        wait_until(lambda: gauge(served, "rex_delta_rows") == 0)
        assert self.both_are_gone(served)
        explained = served.http.get("/v1/users/u-fan/feed/explain", params={"story_id": "s01"}).json()
        assert not explained["story"]["known"]
        assert served.http.get("/readyz").json()["story_position"] == positions["after"][served.keys.story_stream()]

    def test_a_rollback_replays_them(self, served: FeedServer, positions: dict[str, dict[str, str]]) -> None:
        old = self.stale(served, positions["before"])
        self.covering(served, positions["after"])
        rollback(served.client, served.keys, old)
        served.wait_for(old)
        assert served.feed("u-fan", fresh=True)["slate"]["snapshot"] == old
        assert self.both_are_gone(served)

    def test_what_a_kept_snapshot_may_need_again_stays_in_the_stream(
        self, served: FeedServer, positions: dict[str, dict[str, str]]
    ) -> None:
        stream = served.keys.story_stream()
        old = self.stale(served, positions["before"])
        for _ in range(
            2
        ):  # now the three kept ones are these, and the first, which names no position, is not among them
            self.covering(served, positions["after"])
        left = [entry.decode() for entry, _ in served.client.xrange(stream)]
        assert left == [positions["before"][stream], positions["after"][stream]]
        rollback(served.client, served.keys, old)
        served.wait_for(old)
        assert self.both_are_gone(served)
        self.covering(served, positions["after"])  # and with this one the stale one goes
        assert [entry.decode() for entry, _ in served.client.xrange(stream)] == [positions["after"][stream]]

    def test_replaying_what_a_snapshot_holds_already_changes_nothing(self, served: FeedServer) -> None:
        position = put(served, "s-early", author_id="a3", topics=["t1"], language="en", title="Early")
        ms = int(position.split("-")[0])
        early = {"id": "s-early", "author": "a3", "topics": ["t1"], "language": "en", "title": "Early", "age_h": 1 / 60}
        served.publish([*STORIES, early], USERS, positions={served.keys.story_stream(): f"{ms - 300_000}-0"})
        wait_until(lambda: served.http.get("/readyz").json()["story_position"] == position)
        wait_until(lambda: gauge(served, "rex_delta_rows") == 0)
        assert on_feed(served, "u-1", "s-early", fresh=True) is not None


def test_a_process_that_nobody_asks_follows_the_stream(served: FeedServer) -> None:
    position = put(served, "s-new")
    wait_until(lambda: served.http.get("/readyz").json()["story_position"] == position)
    wait_until(lambda: gauge(served, "rex_delta_rows") == 1)
