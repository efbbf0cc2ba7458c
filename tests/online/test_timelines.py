"""What is in a user's timeline, and when it is brought in line."""

from __future__ import annotations

import struct
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from features.errors import BadInput
from features.keys import hash64
from online.components import default_components
from online.pipeline import Pipeline
from online.timelines.timeline import VIA
from tests.online.timeline_site import Site, Version, site


@pytest.fixture
def small(redis_client: redis.Redis, tmp_path: Path) -> Site:
    """A site with an empty snapshot and pushes to everybody."""
    made = site(redis_client, tmp_path)
    made.open()
    return made


def returned(made: Site, user: str, *authors: str) -> str:
    """A user who follows these authors and has a timeline."""
    made.follow(user, *authors)
    made.come_back(user)
    return user


class TestPushing:
    def test_a_story_goes_to_the_followers_of_its_author_and_its_publication_and_keeps_why(self, small: Site) -> None:
        for user, targets in {"u1": ("author",), "u2": ("publication",), "u3": ("author", "publication")}.items():
            for target in targets:
                small.edge(user, "follow", target, "x")
            small.come_back(user)
        small.publish("s1", "x", publication="x")
        small.drain()
        via = {
            user: timeline.entries["via"].tolist() for user in ("u1", "u2", "u3") if (timeline := small.timeline(user))
        }
        assert via == {"u1": [VIA["author"]], "u2": [VIA["publication"]], "u3": [VIA["author"] | VIA["publication"]]}

    def test_an_entry_has_the_documented_bytes(self, small: Site) -> None:
        user = returned(small, "u1", "a1")
        small.publish("sé", "a1")
        small.drain()
        published_us = int(small.now.timestamp() * 1_000_000)
        assert small.client.lrange(small.keys.timeline(user), 0, -1) == [
            struct.pack("<QqqB", 1, published_us, hash64("sé"), VIA["author"]) + "sé".encode()
        ]

    def test_ties_in_time_are_ordered_by_the_bytes_of_the_id(self, small: Site) -> None:
        user = returned(small, "u1", "a1")
        names = ["s", "S", "s1", "s-", "é", "z", "Z", "ss", "字", "s\u00df"]
        for name in names:
            small.publish(name, "a1")
        small.drain()
        assert small.listed(user) == sorted(names, key=str.encode, reverse=True)

    def test_sequence_numbers_only_grow_and_follow_the_order_of_insertion(self, small: Site) -> None:
        user = returned(small, "u1", "a1")
        for i, ago in enumerate((5, 1, 9, 3)):
            small.publish(f"s{i}", "a1", minutes_ago=ago)
            small.drain()
        timeline = small.timeline(user)
        assert timeline is not None
        assert (timeline.seq, timeline.entries["seq"].tolist()) == (4, [2, 4, 1, 3])  # newest first: s1, s3, s0, s2

    def test_a_story_dated_ahead_arrives_when_its_time_comes_and_displaces_nothing_before(
        self, redis_client: redis.Redis, tmp_path: Path
    ) -> None:
        made = site(redis_client, tmp_path, length=2)
        made.stories["s-from-snapshot"] = Version("a1", None, made.now + timedelta(minutes=20))
        made.open()
        user = returned(made, "u1", "a1")
        made.publish("s1", "a1", minutes_ago=2)
        made.publish("s2", "a1", minutes_ago=1)
        made.publish("s-ahead", "a1", minutes_ago=-10)
        made.drain()
        assert made.listed(user) == ["s2", "s1"]
        made.pass_time(minutes=10)
        made.drain()
        assert made.listed(user) == ["s-ahead", "s2"]
        made.pass_time(minutes=10)
        made.drain()
        assert made.listed(user) == ["s-from-snapshot", "s-ahead"] == made.expected(user)

    def test_a_story_for_followers_goes_to_those_of_the_author_only(self, small: Site) -> None:
        returned(small, "u1", "a1")
        small.edge("u2", "follow", "publication", "p1")
        small.come_back("u2")
        small.put("s1", Version("a1", "p1", small.now, "followers"))
        small.drain()
        assert (small.listed("u1"), small.listed("u2")) == (["s1"], [])

    @pytest.mark.parametrize("change", ["withdrawn", "unlisted", "another author"])
    def test_a_story_that_goes_is_replaced_by_the_next_older_one(
        self, redis_client: redis.Redis, tmp_path: Path, change: str
    ) -> None:
        made = site(redis_client, tmp_path, length=2)
        made.open()
        user = returned(made, "u1", "a1")
        for i in range(3):
            made.publish(f"s{i}", "a1", minutes_ago=i)
        made.drain()
        assert made.listed(user) == ["s0", "s1"]
        if change == "withdrawn":
            made.withdraw("s0")
        else:
            author = "a2" if change == "another author" else "a1"
            made.put("s0", Version(author, None, made.now, "unlisted" if change == "unlisted" else "public"))
        made.drain()
        assert made.listed(user) == ["s1", "s2"]

    def test_a_story_that_only_the_snapshot_knows_leaves_timelines_when_it_changes_hands(
        self, redis_client: redis.Redis, tmp_path: Path
    ) -> None:
        made = site(redis_client, tmp_path)
        made.stories["s1"] = Version("a1", None, made.now - timedelta(hours=1))
        made.open()
        returned(made, "u1", "a1")
        returned(made, "u2", "a2")
        assert made.listed("u1") == ["s1"]
        made.put("s1", Version("a2", None, made.now))
        made.drain()
        assert (made.listed("u1"), made.listed("u2")) == ([], ["s1"])


class TestFollowing:
    def test_a_follow_back_fills_and_an_unfollow_cleans_up(self, small: Site) -> None:
        small.publish("s1", "a1", minutes_ago=2)
        small.publish("s2", "a2", minutes_ago=1)
        user = returned(small, "u1", "a1")
        small.follow(user, "a2")
        small.drain()
        assert small.listed(user) == ["s2", "s1"]
        small.edge(user, "unfollow", "author", "a1")
        small.drain()
        assert small.listed(user) == ["s2"]
        assert small.followers("a1") == set()

    def test_before_the_worker_has_seen_a_follow_the_reader_gets_its_stories_all_the_same(self, small: Site) -> None:
        small.publish("s1", "a1")
        user = returned(small, "u1", "a0")
        small.follow(user, "a1")
        assert small.listed(user) == []
        assert small.provided(user) == ["s1"]

    @pytest.mark.parametrize("kind", ["mute", "block"])
    @pytest.mark.parametrize("target", [("author", "a1"), ("publication", "p1")])
    def test_a_mute_or_block_cleans_up_and_keeps_out_and_its_end_brings_back(
        self, small: Site, kind: str, target: tuple[str, str]
    ) -> None:
        user = returned(small, "u1", "a1", "a2")
        small.edge(user, "follow", "publication", "p1")
        small.edge(user, "follow", "publication", "p2")
        small.publish("s1", "a1", minutes_ago=2, publication="p1")
        small.publish("s2", "a2", minutes_ago=1, publication="p2")
        small.drain()
        small.edge(user, kind, *target)
        small.drain()
        assert small.listed(user) == ["s2"]
        small.publish("s3", "a1", publication="p1" if target[0] == "publication" else "p2")
        small.drain()
        assert small.listed(user) == ["s2"], (
            "a story of a muted author came through a followed publication, or vice versa"
        )
        small.edge(user, f"un{kind}", *target)
        small.drain()
        assert small.listed(user) == ["s3", "s2", "s1"]

    def test_a_push_that_comes_after_the_unfollow_was_carried_out_leaves_nothing(self, small: Site) -> None:
        user = returned(small, "u1", "a1")
        small.edge(user, "unfollow", "author", "a1")
        small.drain()
        small.client.sadd(small.keys.followers("author", hash64("a1")), user)  # as a worker that was slow still has it
        small.publish("s1", "a1")
        small.drain()
        assert small.listed(user) == []
        assert small.followers("a1") == set(), "what the user's own list does not hold is taken out of the set"


class TestAway:
    def test_nothing_is_pushed_to_users_who_are_away_and_they_leave_the_follower_set(self, small: Site) -> None:
        user = returned(small, "u1", "a1")
        small.leave(user)
        small.client.delete(small.keys.timeline(user))
        small.publish("s1", "a1")
        small.drain()
        assert small.listed(user) == []
        assert small.followers("a1") == set()

    def test_the_first_read_after_the_return_is_whole_and_has_the_timeline_rebuilt(self, small: Site) -> None:
        user = returned(small, "u1", "a1")
        small.leave(user)
        small.publish("s1", "a1", minutes_ago=1)
        small.drain()
        ctx = small.context(user)
        assert [ctx.story_table.story_id(int(row)) for row in small.rows(ctx)] == ["s1"]
        assert small.due(ctx) == "returning"
        small.come_back(user)
        assert small.listed(user) == ["s1"]
        small.publish("s2", "a1")
        small.drain()
        assert small.listed(user) == ["s2", "s1"], "after the return stories are pushed again"

    def test_what_a_user_changed_while_away_counts_on_return(self, small: Site) -> None:
        user = returned(small, "u1", "a1")
        small.leave(user)
        small.edge(user, "unfollow", "author", "a1")
        small.drain()
        small.come_back(user)
        small.publish("s1", "a1")
        small.drain()
        assert small.listed(user) == []

    def test_everything_of_a_user_has_an_end_and_the_list_outlives_what_says_it_is_there(self, small: Site) -> None:
        small.publish("s1", "a1")
        user = returned(small, "u1", "a1")
        ttl = {key: small.client.ttl(key) for key in small.keys.timeline_keys(user)}
        timeline, about, registered = ttl.values()
        assert 0 < about < min(timeline, registered)
        assert small.client.ttl(small.keys.followers("author", hash64("a1"))) > 0

    def test_a_list_that_begins_with_a_push_has_an_end_too(self, small: Site) -> None:
        user = returned(small, "u1", "a1")
        small.publish("s1", "a1")
        small.drain()
        timeline, about, _ = (small.client.ttl(key) for key in small.keys.timeline_keys(user))
        assert 0 < about < timeline

    def test_a_timeline_that_is_read_near_its_end_is_prolonged(self, small: Site) -> None:
        user = returned(small, "u1", "a1")
        small.client.expire(small.keys.timeline_about(user), 100_000)
        ctx = small.context(user)
        assert small.due(ctx) == "prolong"
        small.come_back(user)
        assert small.client.ttl(small.keys.timeline_about(user)) > 100_000


class TestThreshold:
    def test_an_author_who_crosses_it_is_pulled_and_then_pushed_again(
        self, redis_client: redis.Redis, tmp_path: Path
    ) -> None:
        made = site(redis_client, tmp_path, push_threshold=2)
        made.open()
        users = ["u1", "u2", "u3"]
        for user in users[:2]:
            returned(made, user, "a1")
        made.publish("s1", "a1", minutes_ago=5)
        made.drain()
        assert not made.is_pulled("author", "a1")
        returned(made, "u3", "a1")
        assert made.is_pulled("author", "a1"), "the third follower makes it one too many"
        made.publish("s2", "a1", minutes_ago=4)
        made.drain()
        assert made.listed("u1") == ["s1"], "its stories are not pushed any more"
        assert all(made.provided(user) == ["s2", "s1"] for user in users)
        for user in ("u2", "u3"):
            made.edge(user, "unfollow", "author", "a1")
        made.drain()
        made.publish("s3", "a1", minutes_ago=3)
        made.drain()
        assert not made.is_pulled("author", "a1")
        assert made.listed("u1") == ["s3", "s2", "s1"] == made.provided("u1"), "back-filled before it is pushed again"

    def test_followers_of_a_pulled_author_who_are_away_leave_its_set_story_by_story(
        self, redis_client: redis.Redis, tmp_path: Path
    ) -> None:
        made = site(redis_client, tmp_path, push_threshold=2)
        made.open()
        for i in range(4):
            returned(made, f"u{i}", "a1")
        made.leave("u0")
        made.leave("u1")
        made.publish("s1", "a1")
        made.drain()
        assert made.followers("a1") == {"u2", "u3"}

    def test_a_withdrawn_story_of_an_author_who_is_pulled_now_hides_no_older_one(
        self, redis_client: redis.Redis, tmp_path: Path
    ) -> None:
        """Its entry is still in a full list and keeps an older story out: the read notices, and has the list repaired."""
        made = site(redis_client, tmp_path, push_threshold=1, length=2)
        made.open()
        user = returned(made, "u1", "a1", "a2")
        made.publish("s-old", "a2", minutes_ago=9)
        made.publish("s-next", "a2", minutes_ago=5)
        made.publish("s-popular", "a1", minutes_ago=1)
        made.drain()
        returned(made, "u2", "a1")
        assert made.is_pulled("author", "a1")
        made.withdraw("s-popular")
        made.drain()
        ctx = made.context(user)
        assert [ctx.story_table.story_id(int(row)) for row in made.rows(ctx)] == ["s-next", "s-old"]
        assert made.due(ctx) == "incomplete"
        made.come_back(user)
        assert made.listed(user) == ["s-next", "s-old"]


class TestManyFollows:
    def test_the_newest_of_all_are_pulled_and_nothing_is_missing(
        self, redis_client: redis.Redis, tmp_path: Path
    ) -> None:
        made = site(redis_client, tmp_path, push_threshold=0, length=20)
        for i in range(30):
            made.stories[f"s{i:02}"] = Version(f"a{i}", None, made.now - timedelta(minutes=i))
        made.open()
        ctx = made.context(returned(made, "u1", *(f"a{i}" for i in range(30))))
        assert [ctx.story_table.story_id(int(row)) for row in made.rows(ctx)] == [f"s{i:02}" for i in range(20)]
        assert ctx.trace.degraded == []


class TestSurfaces:
    def test_a_surface_has_the_candidates_of_its_providers_only(self, small: Site) -> None:
        user = returned(small, "u1", "a1")
        small.publish("s1", "a1")
        small.publish("s2", "a2")
        small.drain()
        ctx = small.context(user)
        pipeline = Pipeline(small.rex.feeds.components, lambda ctx, slate: None)
        assert [ctx.story_table.story_id(int(row)) for row in pipeline.aggregate(ctx).rows] == ["s1"]
        home = small.rex.feeds.context(user, ctx.now_us, "home")
        assert len(pipeline.aggregate(home)) == 2

    @pytest.mark.parametrize("names", [("timelime",), ()])
    def test_a_surface_of_a_provider_that_there_is_not_is_refused(self, names: tuple[str, ...]) -> None:
        with pytest.raises(BadInput, match=r"Surface mine .*choose among followed_authors"):
            default_components().check_surfaces({"mine": names})

    @pytest.mark.parametrize(
        ("followed", "told"), [("author", "From an author you follow"), ("publication", "From x, which you follow")]
    )
    def test_the_reader_is_told_whom_of_the_two_they_follow(self, small: Site, followed: str, told: str) -> None:
        from online.feed.preparing import FeedRequest

        small.edge("u1", "follow", followed, "x")
        small.come_back("u1")
        small.publish("s1", "x", publication="x")
        small.drain()
        page: dict[str, Any] = small.rex.feeds.feed(FeedRequest("u1", surface="following"), small.context("u1").now_us)
        assert [(item["sources"], item["reason"]) for item in page["items"]] == [(["timeline"], told)]


@pytest.mark.parametrize("damage", ["a sequence that is no number", "an entry that is none"])
def test_a_damaged_timeline_takes_no_feed_down_and_is_made_anew(small: Site, damage: str) -> None:
    small.publish("s1", "a1")
    user = returned(small, "u1", "a1")
    timeline, about, _ = small.keys.timeline_keys(user)
    if damage == "an entry that is none":
        small.client.lpush(timeline, b"short")
    else:
        small.client.hset(about, "seq", "many")
    ctx = small.context(user)
    assert [ctx.story_table.story_id(int(row)) for row in small.rows(ctx)] == ["s1"]
    small.store.ask_for_timeline(user, small.due(ctx))
    small.drain()
    assert small.listed(user) == ["s1"]
    assert small.timeline(user) is not None


def test_the_rows_of_a_timeline_are_within_the_table_and_of_one_type(small: Site) -> None:
    user = returned(small, "u1", "a1")
    small.publish("s1", "a1")
    small.drain()
    assert small.rows(small.context(user)).dtype == np.int32
