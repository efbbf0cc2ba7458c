"""The surface `following` over real HTTP, with the worker that runs in the service."""

from __future__ import annotations

from features.keys import hash64
from tests.online.conftest import STORIES, USERS, FeedServer, wait_until


def following(served: FeedServer, user: str) -> list[str]:
    return served.stories(user, surface="following", limit=100, fresh=True)


def test_the_surface_following_shows_what_the_reader_follows_and_nothing_else(served: FeedServer) -> None:
    page = served.feed("u-fan", surface="following", limit=100)
    assert {item["author_id"] for item in page["items"]} == {"a3"}
    assert {(item["reason"], tuple(item["sources"])) for item in page["items"]} == {
        ("From an author you follow", ("timeline",))
    }
    assert served.feed("u-new", surface="following")["items"] == []


def test_a_first_read_makes_a_timeline_and_from_then_on_stories_are_pushed_to_it(served: FeedServer) -> None:
    following(served, "u-fan")
    timeline, about, _ = served.keys.timeline_keys("u-fan")
    wait_until(lambda: served.client.exists(about))
    before = served.client.llen(timeline)
    body = {"published_at": served.now.isoformat(), "author_id": "a3", "title": "New"}
    assert served.http.put("/v1/stories/s-new", json=body).status_code == 202
    wait_until(lambda: served.client.llen(timeline) == before + 1)
    assert "s-new" in following(served, "u-fan")


def test_a_follow_shows_on_the_next_page_without_waiting_for_the_worker(served: FeedServer) -> None:
    following(served, "u-fan")
    wait_until(lambda: served.client.exists(served.keys.timeline_about("u-fan")))
    served.client.set(served.keys.fanout_lease(), "another", px=60_000)
    served.send(served.event("e1", "u-fan", "follow", target_type="author", target_id="a5"))
    assert "s05" in following(served, "u-fan")
    served.client.delete(served.keys.fanout_lease())
    wait_until(lambda: served.client.sismember(served.keys.followers("author", hash64("a5")), "u-fan"))


def test_a_new_snapshot_brings_timelines_in_line_once_they_are_read(served: FeedServer) -> None:
    following(served, "u-fan")
    about = served.keys.timeline_about("u-fan")
    wait_until(lambda: served.client.exists(about))
    version = served.publish(STORIES, USERS)
    following(served, "u-fan")
    wait_until(lambda: served.client.hget(about, "snapshot") == version.encode())


def test_what_was_fanned_out_is_counted(served: FeedServer) -> None:
    served.http.put("/v1/stories/s-new", json={"published_at": served.now.isoformat(), "author_id": "a3"})
    wait_until(lambda: 'rex_fanned_out_total{what="stories"} 1.0' in served.http.get("/metrics").text)
