"""A user's languages and membership over real HTTP: they act at once, and reach the lake."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import duckdb
import orjson
import pytest

from features.keys import Keys
from online.ingest.users import Account, AccountIntake
from online.service_settings import OnlineSettings
from tests.online.conftest import STORIES, USERS, FeedServer, wait_until
from tests.online.small_world import NOW

GERMAN = {"id": "s-de", "author": "a1", "language": "de", "title": "Guten Tag", "age_h": 3.0}
PAID = {"id": "s-paid", "author": "a2", "language": "en", "members_only": True, "title": "For members", "age_h": 3.0}


@pytest.fixture
def site(feed_server: FeedServer) -> FeedServer:
    feed_server.publish([*STORIES, GERMAN, PAID], USERS)
    return feed_server


def put(site: FeedServer, user: str, status: int = 202, **account: Any) -> dict[str, Any]:
    answer = site.http.put(f"/v1/users/{quote(user, safe='')}", json=account)
    assert answer.status_code == status, answer.text
    told: dict[str, Any] = answer.json()
    return told


def about(site: FeedServer, user: str) -> dict[str, Any]:
    told: dict[str, Any] = site.http.get(f"/v1/users/{user}").json()
    return told


class TestAtOnce:
    def test_the_next_page_is_in_the_new_languages(self, site: FeedServer) -> None:
        assert "s-de" in site.stories("u-new", limit=100)
        site.feed("u-new", limit=100)  # kept, to be answered again if nothing changes
        put(site, "u-new", languages=["de"])
        assert site.stories("u-new", limit=100) == ["s-de"]
        put(site, "u-new", languages=["en", "de"])
        assert {"s-de", "s01"} <= set(site.stories("u-new", limit=100))

    def test_membership_opens_and_closes_stories_for_members(self, site: FeedServer) -> None:
        assert "s-paid" not in site.stories("u-new", limit=100)
        put(site, "u-new", is_member=True)
        assert "s-paid" in site.stories("u-new", limit=100)
        put(site, "u-fan", is_member=False, languages=["en"])
        assert "s-paid" not in site.stories("u-fan", limit=100)

    def test_a_session_that_has_begun_shows_nothing_for_members_any_more(self, site: FeedServer) -> None:
        put(site, "u-new", is_member=True)
        ranked = site.stories("u-new", limit=100)
        before = ranked.index("s-paid")
        cursor = site.feed("u-new", limit=max(before, 1))["next_cursor"]
        put(site, "u-new", is_member=False)
        assert "s-paid" not in site.stories("u-new", limit=100, cursor=cursor)

    def test_null_and_nothing_said_mean_what_they_mean_in_the_lake(self, site: FeedServer) -> None:
        put(site, "u-new", languages=["de"], is_member=True)
        put(site, "u-new", languages=None, is_member=None)
        told = about(site, "u-new")
        assert (told["languages"], told["is_member"], told["known"]) == ([], False, True)
        put(site, "u-new", languages=["de"])
        put(site, "u-new")
        assert about(site, "u-new")["languages"] == []
        put(site, "u-new", languages=["de", "", "und"])
        assert about(site, "u-new")["languages"] == ["de"]

    def test_needs_no_snapshot(self, feed_server: FeedServer) -> None:
        put(feed_server, "u-new", languages=["de"])
        feed_server.publish(STORIES, USERS)
        assert about(feed_server, "u-new")["languages"] == ["de"]


class TestAbout:
    def test_a_user_is_told_as_put(self, site: FeedServer) -> None:
        put(site, "u-new", languages=["tlh", "de"], is_member=True, created_at="2025-01-01T01:00:00+01:00")
        told = about(site, "u-new")
        assert (told["languages"], told["is_member"]) == (["de", "tlh"], True)  # the snapshot does not know `tlh`
        assert (told["known"], told["created_at"]) == (True, "2025-01-01T00:00:00Z")

    def test_created_at_stays_as_it_is_known(self, site: FeedServer) -> None:
        known = about(site, "u-fan")["created_at"]
        put(site, "u-fan", is_member=True)
        assert about(site, "u-fan")["created_at"] == known
        put(site, "u-new", created_at="2025-01-01T00:00:00Z")
        site.now += timedelta(seconds=1)
        put(site, "u-new", is_member=True)
        assert about(site, "u-new")["created_at"] == "2025-01-01T00:00:00Z"
        put(site, "u-newer")
        assert about(site, "u-newer")["created_at"] == "2026-01-31T12:00:01Z"


class TestAnOlderVersion:
    def test_is_older_than_the_version_that_only_the_snapshot_knows(self, site: FeedServer) -> None:
        at = site.now - timedelta(hours=2)
        known = {"created_at": [1], "updated_at": [int(at.timestamp() * 1e6)], "is_member": [1]}
        site.publish([*STORIES, GERMAN, PAID], USERS | {"u-paying": known})
        older = put(site, "u-paying", is_member=False, updated_at=(at - timedelta(minutes=1)).isoformat())
        assert (older["applied"], about(site, "u-paying")["is_member"]) == (False, True)
        later = put(site, "u-paying", is_member=False, updated_at=(at + timedelta(minutes=1)).isoformat())
        assert (later["applied"], about(site, "u-paying")["is_member"]) == (True, False)

    def test_is_ignored_and_told_so(self, site: FeedServer) -> None:
        newer = put(site, "u-new", languages=["de"], updated_at="2026-01-31T11:30:00+00:00")
        older = put(site, "u-new", languages=["en"], is_member=True, updated_at="2026-01-31T11:20:00Z")
        again = put(site, "u-new", languages=["de"], updated_at="2026-01-31T12:30:00+01:00")
        assert [answer["applied"] for answer in (newer, older, again)] == [True, False, False]
        assert older["position"] == again["position"] == newer["position"], "nothing was appended"
        assert (about(site, "u-new")["languages"], about(site, "u-new")["is_member"]) == (["de"], False)
        assert put(site, "u-new", languages=["en"])["applied"] is True, "without a time of its own it is the latest"
        assert about(site, "u-new")["languages"] == ["en"]


class TestTheLake:
    def test_it_gets_every_version(self, site: FeedServer) -> None:
        put(site, "u-new", languages=["de"], is_member=True)
        put(site, "u-new", languages=["de"], is_member=True)  # sent again, because the answer was lost
        put(site, "u/2")
        files = f"{site.settings.lake}/raw/users/*.parquet"
        wait_until(lambda: any((site.settings.lake / "raw" / "users").glob("*.parquet")))
        wait_until(lambda: duckdb.sql(f"SELECT count(*) FROM '{files}'").fetchall() == [(3,)])
        found = duckdb.sql(f"""
            SELECT user_id, languages, is_member, created_at::TIMESTAMP::VARCHAR, max(received_at)::TIMESTAMP::VARCHAR,
                count(DISTINCT updated_at)
            FROM '{files}' GROUP BY ALL ORDER BY user_id
        """).fetchall()
        day = "2026-01-31 12:00:00"
        assert found == [("u-new", ["de"], True, day, day, 2), ("u/2", [], False, day, day, 1)]

    def test_nothing_of_it_is_set_aside_by_those_who_follow_the_stream(self, site: FeedServer) -> None:
        position = put(site, "u-new", languages=["de"])["position"].encode()
        stream = site.keys.event_stream(site.keys.partition("u-new"))

        def all_done() -> bool:
            groups: list[Any] = site.client.xinfo_groups(stream)  # type: ignore[assignment]
            return len(groups) == 2 and all(g["pending"] == 0 and g["last-delivered-id"] == position for g in groups)

        wait_until(all_done)
        assert site.client.xlen(site.keys.dead_letters()) == 0

    def test_what_a_snapshot_does_not_cover_survives_its_publication(self, site: FeedServer) -> None:
        position = put(site, "u-fan", languages=["de"], is_member=False)["position"]
        site.publish([*STORIES, GERMAN, PAID], USERS)
        assert (about(site, "u-fan")["languages"], about(site, "u-fan")["is_member"]) == (["de"], False)
        stream = site.keys.event_stream(site.keys.partition("u-fan"))
        site.publish([*STORIES, GERMAN, PAID], USERS, positions={stream: position})  # the lake has been told otherwise
        assert (about(site, "u-fan")["languages"], about(site, "u-fan")["is_member"]) == ([], True)

    def test_of_two_changes_at_once_both_are_kept_and_the_last_holds(
        self, site: FeedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        slow, fast = (AccountIntake(site.client, Keys(), OnlineSettings()) for _ in range(2))
        ordinary, overtaken = slow._append_after, []

        def hesitate(*arguments: Any) -> bytes:
            if not overtaken:
                overtaken.append(fast.put("u1", Account(languages=["fr"]), NOW + timedelta(seconds=2), {}))
            return ordinary(*arguments)

        monkeypatch.setattr(slow, "_append_after", hesitate)
        slow.put("u1", Account(languages=["de"]), NOW, {})
        stream = site.keys.event_stream(site.keys.partition("u1"))
        first, last = (orjson.loads(fields[b"user"]) for _, fields in site.client.xrange(stream))
        assert (first["languages"], last["languages"]) == (["fr"], ["de"])
        assert last["updated_at"] > first["updated_at"]
        assert about(site, "u1")["languages"] == ["de"]


def test_a_malformed_user_is_refused(site: FeedServer) -> None:
    malformed: list[dict[str, Any]] = [
        {"languages": "en"},
        {"languages": ["x" * 200]},
        {"languages": ["en"] * 33},
        {"is_member": "perhaps"},
        {"created_at": "2025-01-01T00:00:00"},
        {"created_at": "0001-01-01T00:00:00Z"},
        {"created_at": "2026-02-01T00:00:00Z"},
        {"created_at": 1735689600},
        {"created_at": "1735689600"},
        {"updated_at": "2026-02-01T00:00:00Z"},
        {"surprise": 1},
    ]
    for account in malformed:
        assert put(site, "u-new", 422, **account)["type"] == "urn:rex:invalid_request"
    assert about(site, "u-new")["known"] is False


class TestRefusedStories:
    def test_are_told_so_that_they_can_be_taken_back(self, site: FeedServer) -> None:
        for number, kind in enumerate(("hide", "report", "hide")):
            site.send(site.event(f"e{number}", "u-new", kind, story_id=("s01", "s02", "s-gone")[number]))
        told = about(site, "u-new")
        assert (sorted(told["hides"]), told["reports"]) == (["s-gone", "s01"], ["s02"])
        site.send(site.event("back", "u-new", "unhide", story_id="s01"))
        assert about(site, "u-new")["hides"] == ["s-gone"]


class TestIds:
    def test_follows_that_the_snapshot_does_not_know_are_told_by_their_ids(self, site: FeedServer) -> None:
        """So that an unfollow button can be made of them."""
        for i, (kind, target) in enumerate((("follow", "author"), ("mute", "topic"), ("block", "publication"))):
            on = {"target_type": target, "target_id": f"{target}-of-nothing/yet|"}
            assert site.send(site.event(f"e{i}", "u-new", kind, **on))["accepted"] == 1
        told = about(site, "u-new")
        assert told["follows"]["author"] == ["author-of-nothing/yet|"]
        assert told["mutes"]["topic"] == ["topic-of-nothing/yet|"]
        assert told["blocks"]["publication"] == ["publication-of-nothing/yet|"]
        gone = {"target_type": "author", "target_id": told["follows"]["author"][0]}
        site.send(site.event("e9", "u-new", "unfollow", **gone))
        assert about(site, "u-new")["follows"]["author"] == []

    def test_those_that_a_snapshot_holds_and_no_story_names_too(self, feed_server: FeedServer) -> None:
        quiet, unnamed = "author-without-a-story", "nobody-kept-this-one"
        users = {"u-fan": {"follow_author": ["a3", quiet], "mute_topic": [unnamed]}}
        feed_server.publish(STORIES, users, targets=[quiet])
        told = about(feed_server, "u-fan")
        assert sorted(told["follows"]["author"]) == ["a3", quiet]
        assert told["mutes"]["topic"][0].startswith("#")  # beyond the million that are kept
