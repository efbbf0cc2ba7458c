"""Pagination sessions of cursors over real HTTP: whatever expires on the way, no story comes twice and none is skipped."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from features.registry import FEATURES
from online.columns import Rows
from online.components import default_components
from online.context import Context
from online.http.app import create_app
from online.protocols import Provider
from online.slates.slate import Slate
from tests.online.conftest import LENIENT, OFTEN, STORIES, FeedServer, serving

Page = dict[str, Any]
ALL = [story["id"] for story in STORIES]


def ids(page: Page) -> list[str]:
    return [item["story_id"] for item in page["items"]]


def expire(served: FeedServer, user: str, page: Page) -> None:
    """What time does to the slate of a page."""
    assert served.client.delete(served.keys.slate(user, page["slate"]["id"])) == 1


def rest_of_session(
    served: FeedServer, user: str, page: Page, between: Callable[[Page], None] = lambda page: None, limit: int = 8
) -> list[Page]:
    """The page and all that follow it; `between` happens before each next one."""
    pages = [page]
    while pages[-1]["next_cursor"]:
        between(pages[-1])
        pages.append(served.feed(user, limit=limit, cursor=pages[-1]["next_cursor"]))
    return pages


def publish_story(served: FeedServer, story_id: str, **more: Any) -> str:
    """Puts a story online that is newer than all others; returns its position in the story stream."""
    body = {"author_id": "a1", "language": "en", "published_at": served.now.isoformat(), **more}
    answer = served.http.put(f"/v1/stories/{story_id}", json=body)
    assert answer.status_code == 202, answer.text
    position: str = answer.json()["position"]
    return position


@dataclass
class Fickle(Provider):
    """A provider that brings nothing, until it fails."""

    name = "fickle"
    reason = "By chance"
    fails: bool = False

    def rows(self, ctx: Context) -> Rows:
        if self.fails:
            raise ArithmeticError("no luck")
        return np.empty(0, np.int32)


class TestExpiry:
    def test_a_session_goes_on_when_its_slate_has_expired(self, served: FeedServer) -> None:
        first = served.feed("u-new", limit=8)
        expire(served, "u-new", first)
        second = served.feed("u-new", limit=8, cursor=first["next_cursor"])
        assert second["slate"]["id"] != first["slate"]["id"]
        assert second["slate"]["cached"] is False
        assert [item["position"] for item in second["items"]] == list(range(8, 16))
        assert not set(ids(first)) & set(ids(second))

    def test_a_session_whose_slates_expire_after_every_page_still_partitions_the_stories(
        self, served: FeedServer
    ) -> None:
        first = served.feed("u-new", limit=8)
        pages = rest_of_session(served, "u-new", first, lambda page: expire(served, "u-new", page))
        delivered = [story for page in pages for story in ids(page)]
        assert sorted(delivered) == ALL
        assert [item["position"] for page in pages for item in page["items"]] == list(range(50))
        assert len({page["slate"]["id"] for page in pages}) == len(pages)

    def test_near_duplicates_of_what_was_delivered_do_not_come_when_the_slate_has_expired(
        self, feed_server: FeedServer
    ) -> None:
        twins = [
            {"id": f"{which}{i}", "author": f"a{which}{i}", "age_h": 1.0 + i + 50 * (which == "b"), "duplicate_key": i}
            for i in range(20)
            for which in "ab"
        ]
        feed_server.publish(twins)
        first = feed_server.feed("u-new", limit=8)
        pages = rest_of_session(feed_server, "u-new", first, lambda page: expire(feed_server, "u-new", page))
        assert sorted(int(story[1:]) for page in pages for story in ids(page)) == list(range(20))

    def test_a_session_goes_on_from_a_slate_that_another_release_wrote(self, served: FeedServer) -> None:
        first = served.feed("u-new", limit=8)
        key = served.keys.slate("u-new", first["slate"]["id"])
        slate = Slate.decode(served.client.get(key))  # type: ignore[arg-type]
        more_features = replace(slate, features=np.zeros((len(slate), len(FEATURES) + 1), np.float32))
        served.client.set(key, more_features.encode(), ex=500)
        rest = served.feed("u-new", limit=50, cursor=first["next_cursor"])
        assert sorted(ids(first) + ids(rest)) == ALL
        assert served.feed("u-new", limit=8)["slate"]["cached"] is False

    def test_a_session_whose_memory_another_release_wrote_has_expired(self, served: FeedServer) -> None:
        first = served.feed("u-new", limit=8)
        expire(served, "u-new", first)
        served.client.set(served.keys.pagination_session("u-new", first["slate"]["id"]), b"another form", ex=500)
        answer = served.http.get("/v1/users/u-new/feed", params={"cursor": first["next_cursor"]})
        assert (answer.status_code, answer.json()["type"]) == (410, "urn:rex:cursor_expired")

    def test_a_cursor_used_again_gives_the_same_page_from_the_same_continuation(self, served: FeedServer) -> None:
        first = served.feed("u-new", limit=8)
        expire(served, "u-new", first)
        second = served.feed("u-new", limit=8, cursor=first["next_cursor"])
        served.now += timedelta(seconds=5)
        again = served.feed("u-new", limit=8, cursor=first["next_cursor"])
        assert again["items"] == second["items"]
        assert again["slate"]["id"] == second["slate"]["id"]
        assert again["slate"]["cached"] is True

    def test_a_continuation_that_expired_is_not_made_again_under_its_name(self, served: FeedServer) -> None:
        """Its cursors count on its order. Both ways on are whole: after the page, and from the older cursor anew."""
        first = served.feed("u-new", limit=8)
        expire(served, "u-new", first)
        second = served.feed("u-new", limit=8, cursor=first["next_cursor"])
        expire(served, "u-new", second)
        served.send(served.event("e1", "u-new", "follow", target_type="author", target_id="a7"))  # ranks otherwise now
        again = served.feed("u-new", limit=8, cursor=first["next_cursor"])
        assert again["slate"]["id"] not in (first["slate"]["id"], second["slate"]["id"])
        for before, page in (([first], again), ([first, second], None)):
            tail = page or served.feed("u-new", limit=8, cursor=second["next_cursor"])
            pages = [*before, *rest_of_session(served, "u-new", tail)]
            assert sorted(story for page in pages for story in ids(page)) == ALL

    def test_concurrent_uses_of_a_cursor_agree_on_one_continuation(self, served: FeedServer) -> None:
        first = served.feed("u-new", limit=8)
        expire(served, "u-new", first)
        with (
            serving(create_app(served.settings, OFTEN, clock=lambda: served.now + timedelta(seconds=1))) as other,
            ThreadPoolExecutor(8) as pool,
        ):
            answers = list(
                pool.map(
                    lambda http: http.get("/v1/users/u-new/feed", params={"limit": 8, "cursor": first["next_cursor"]}),
                    [served.http, other] * 4,
                )
            )
        assert [answer.status_code for answer in answers] == [200] * 8
        assert len({tuple(ids(answer.json())) for answer in answers}) == 1
        assert len({answer.json()["slate"]["id"] for answer in answers}) == 1

    def test_without_slate_and_without_session_a_cursor_has_expired(self, served: FeedServer) -> None:
        first = served.feed("u-new", limit=8)
        expire(served, "u-new", first)
        assert served.client.delete(served.keys.pagination_session("u-new", first["slate"]["id"])) == 1
        answer = served.http.get("/v1/users/u-new/feed", params={"cursor": first["next_cursor"]})
        assert (answer.status_code, answer.json()["type"]) == (410, "urn:rex:cursor_expired")
        assert "without a cursor" in answer.json()["detail"]

    def test_what_a_session_passed_outlives_its_slate(self, served: FeedServer) -> None:
        first = served.feed("u-new", limit=8)
        slate_s, pagination_session_s = (
            served.client.ttl(key("u-new", first["slate"]["id"]))
            for key in (served.keys.slate, served.keys.pagination_session)
        )
        assert 530 <= slate_s <= 660  # ten minutes, give or take a tenth
        assert 86_000 <= pagination_session_s <= 86_400

    def test_no_first_page_comes_from_a_continuation(self, served: FeedServer) -> None:
        first = served.feed("u-new", limit=8)
        expire(served, "u-new", first)
        second = served.feed("u-new", limit=8, cursor=first["next_cursor"])
        served.now += timedelta(seconds=1)
        page = served.feed("u-new", limit=50)
        assert page["slate"]["id"] != second["slate"]["id"]
        assert sorted(ids(page)) == ALL

    def test_a_session_of_a_slate_with_other_sources_goes_on_too(self, served: FeedServer) -> None:
        first = served.feed("u-new", limit=8)
        fewer = replace(default_components(), providers=default_components().providers[1:])
        with serving(create_app(served.settings, OFTEN, components=fewer, clock=lambda: served.now)) as other:
            query = {"limit": 50, "cursor": first["next_cursor"]}
            answer = other.get("/v1/users/u-new/feed", params=query).json()
        assert sorted(ids(first) + ids(answer)) == ALL


class TestSession:
    def test_a_session_ends_when_it_has_passed_as_much_as_is_remembered(self, served: FeedServer) -> None:
        short = LENIENT.model_copy(update={"cache": replace(LENIENT.cache, pagination_session_cap=20)})
        with serving(create_app(served.settings, short, clock=lambda: served.now)) as other:
            page = other.get("/v1/users/u-cap/feed", params={"limit": 8}).json()
            second = other.get("/v1/users/u-cap/feed", params={"limit": 8, "cursor": page["next_cursor"]}).json()
            expire(served, "u-cap", second)
            third = other.get("/v1/users/u-cap/feed", params={"limit": 8, "cursor": second["next_cursor"]}).json()
        assert second["next_cursor"] is not None
        assert (len(third["items"]), third["next_cursor"]) == (8, None)

    def test_a_session_keeps_its_surface(self, served: FeedServer) -> None:
        first = served.feed("u-new", limit=8, surface="digest")
        expire(served, "u-new", first)
        served.feed("u-new", limit=8, cursor=first["next_cursor"])
        assert served.feed("u-new")["slate"]["cached"] is False, (
            "the pagination session's slate was taken for one of home"
        )

    def test_what_was_muted_meanwhile_drops_out_and_the_rest_stays_whole(self, served: FeedServer) -> None:
        first = served.feed("u-new", limit=8)

        def between(page: Page) -> None:
            if page["items"][0]["position"] == 16:
                expire(served, "u-new", page)
            served.send(served.event("e-mute", "u-new", "mute", target_type="author", target_id="a3"))

        pages = rest_of_session(served, "u-new", first, between)
        later = [item for page in pages[1:] for item in page["items"]]
        assert "a3" not in {item["author_id"] for item in later}
        everything = ids(first) + [item["story_id"] for item in later]
        assert len(everything) == len(set(everything))
        due = {story["id"] for story in STORIES if story["author"] != "a3"}
        assert due <= set(everything)


class TestNewer:
    def test_a_newer_story_is_never_in_the_middle_of_a_session(self, served: FeedServer) -> None:
        first = served.feed("u-new", limit=8)

        def between(page: Page) -> None:
            expire(served, "u-new", page)
            served.now += timedelta(seconds=1)
            publish_story(served, f"s-newer-{page['items'][0]['position']}")

        pages = rest_of_session(served, "u-new", first, between)
        assert sorted(story for page in pages for story in ids(page)) == ALL

    def test_a_newer_story_counts_on_the_first_page_until_a_new_slate_holds_it(self, served: FeedServer) -> None:
        assert served.feed("u-new")["new_count"] == 0
        assert served.feed("u-new")["new_count"] == 0
        served.now += timedelta(seconds=1)
        position = publish_story(served, "s-newer")
        again = served.feed("u-new", limit=50)
        assert (again["new_count"], again["slate"]["cached"]) == (1, True)
        assert again["story_position"] == position
        assert "s-newer" not in ids(again)
        fresh = served.feed("u-new", limit=100, fresh=True)
        assert fresh["new_count"] == 0
        assert "s-newer" in ids(fresh)
        assert served.feed("u-new")["new_count"] == 0

    def test_a_story_of_the_slate_that_was_given_a_later_date_does_not_count(self, served: FeedServer) -> None:
        served.feed("u-new", limit=50)
        served.now += timedelta(seconds=1)
        publish_story(served, "s03", author_id="a3")
        publish_story(served, "s-newer")
        again = served.feed("u-new", limit=50)
        assert "s03" in ids(again)
        assert again["new_count"] == 1

    def test_a_provider_that_fails_while_newer_stories_are_counted_is_told(self, served: FeedServer) -> None:
        fickle = Fickle()
        usual = default_components()
        with_it = replace(usual, providers=(*usual.providers, fickle))
        with serving(create_app(served.settings, LENIENT, with_it, clock=lambda: served.now)) as other:
            assert other.get("/v1/users/u-new/feed").json()["degraded"] == []
            fickle.fails = True
            served.now += timedelta(seconds=1)
            publish_story(served, "s-newer")
            page = other.get("/v1/users/u-new/feed").json()
        assert (page["slate"]["cached"], page["new_count"], page["degraded"]) == (True, 1, ["fickle"])

    def test_a_page_with_a_cursor_counts_nothing(self, served: FeedServer) -> None:
        first = served.feed("u-new", limit=8)
        served.now += timedelta(seconds=1)
        publish_story(served, "s-newer")
        assert served.feed("u-new", limit=8, cursor=first["next_cursor"])["new_count"] == 0

    @pytest.mark.parametrize(
        "hidden_by", [{"visibility": "unlisted"}, {"visibility": "followers"}, {"members_only": True}]
    )
    def test_a_newer_story_that_the_reader_may_not_see_does_not_count(
        self, served: FeedServer, hidden_by: dict[str, Any]
    ) -> None:
        served.feed("u-new")
        served.now += timedelta(seconds=1)
        publish_story(served, "s-newer", **hidden_by)
        assert served.feed("u-new")["new_count"] == 0

    def test_a_story_dated_ahead_counts_from_its_date_on(self, served: FeedServer) -> None:
        served.feed("u-new")
        publish_story(served, "s-ahead", published_at=(served.now + timedelta(minutes=1)).isoformat())
        assert served.feed("u-new")["new_count"] == 0
        served.now += timedelta(minutes=1)
        assert served.feed("u-new")["new_count"] == 1

    def test_a_surface_of_follows_counts_followed_stories_only(self, served: FeedServer) -> None:
        assert served.feed("u-fan", surface="following")["new_count"] == 0
        served.now += timedelta(seconds=1)
        publish_story(served, "s-newer", author_id="a1")
        assert served.feed("u-fan", surface="following")["new_count"] == 0
        publish_story(served, "s-newer-of-theirs", author_id="a3")
        assert served.feed("u-fan", surface="following")["new_count"] == 1
        assert "s-newer-of-theirs" in served.stories("u-fan", surface="following", fresh=True)
