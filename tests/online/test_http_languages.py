"""Languages over real HTTP: whatever way a publisher spells a tag, and what a browser says of a user nobody knows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.online.conftest import FeedServer

MIXED: list[dict[str, Any]] = [
    {
        "id": f"{language}{i:03}",
        "author": f"a{i % 40}",
        "language": language,
        "title": f"{language} {i}",
        "age_h": i + 1.0,
    }
    for language, count in (("en", 240), ("de", 120), ("is", 3))
    for i in range(count)
]
"""Enough German for a page of the greatest length; of Icelandic too little for any."""
USERS: dict[str, dict[str, Any]] = {
    "u-pt": {"created_at": [1], "is_member": [0], "languages": ["pt"]},
    "u-en": {"created_at": [1], "is_member": [0], "languages": ["en"]},
    "u-read": {"created_at": [1], "is_member": [0], "read": ["en000"], "read_at": [5]},
}


@pytest.fixture
def mixed(feed_server: FeedServer) -> FeedServer:
    feed_server.publish(MIXED, USERS)
    return feed_server


def languages(server: FeedServer, user: str, header: str | None, **asked: Any) -> set[str]:
    """First two letters of the stories of a page of 100, which here are their language."""
    return {item["story_id"][:2] for item in page(server, user, header, **asked)["items"]}


def page(server: FeedServer, user: str, header: str | None, **asked: Any) -> dict[str, Any]:
    headers = {} if header is None else {"Accept-Language": header}
    answer = server.http.get(f"/v1/users/{user}/feed", params={"limit": 100, **asked}, headers=headers)
    answer.raise_for_status()
    body: dict[str, Any] = answer.json()
    return body


def put(server: FeedServer, story_id: str, language: str) -> int:
    body = {"author_id": "a", "language": language, "published_at": server.now.isoformat()}
    return server.http.put(f"/v1/stories/{story_id}", json=body).status_code


def test_a_story_put_in_any_spelling_of_a_language_reaches_its_readers(mixed: FeedServer) -> None:
    tags = {"s1": "pt-BR", "s2": "PT", "s3": "pt_BR", "s4": "por", "s5": "en", "s6": "und", "s7": ""}
    assert [put(mixed, story, tag) for story, tag in tags.items()] == [202] * len(tags)
    shown = {item["story_id"] for item in page(mixed, "u-pt", None, fresh=True)["items"]}
    assert shown == tags.keys() - {"s5"}


@pytest.mark.parametrize("tag", ["EN_us!!", "zh-cmn-5yn", "english", "e", "en--us", "*", "en-" + "x" * 197, " en"])
def test_a_malformed_tag_is_refused(mixed: FeedServer, tag: str) -> None:
    assert put(mixed, "s1", tag) == 422


class TestHint:
    def test_a_newcomers_browser_says_what_they_read(self, mixed: FeedServer) -> None:
        assert languages(mixed, "u-new", "de-DE,de;q=0.9") == {"de"}
        assert languages(mixed, "u-new", "DE, EN;q=0.5, is;q=0") == {"de", "en"}

    def test_paid_and_unlisted_stories_are_not_enough_for_one(self, feed_server: FeedServer) -> None:
        kinds: list[dict[str, Any]] = [{}, {"members_only": True}, {"visibility": "unlisted"}]
        german = [{"id": f"de{n:03}", "language": "de", "title": f"de {n}", **kinds[n % 3]} for n in range(240)]
        feed_server.publish([*german, {"id": "en000", "language": "en", "title": "en"}], USERS)
        assert languages(feed_server, "u-new", "de") == {"de", "en"}

    def test_the_rest_of_a_slate_is_in_the_languages_of_its_beginning(self, mixed: FeedServer) -> None:
        first = page(mixed, "u-new", "de", limit=50)
        rest = page(mixed, "u-new", "en", cursor=first["next_cursor"])
        assert {item["story_id"][:2] for item in rest["items"]} == {"de"}
        assert len(first["items"]) + len(rest["items"]) == 120

    def test_another_hint_has_another_slate(self, mixed: FeedServer) -> None:
        first = page(mixed, "u-new", "de")
        assert languages(mixed, "u-new", "en") == {"en"}
        assert languages(mixed, "u-new", None) == {"de", "en", "is"}
        mixed.now += timedelta(seconds=1)  # a slate is named after its moment, too
        assert languages(mixed, "u-new", "de") == {"de"}
        assert page(mixed, "u-new", "de")["slate"]["cached"] is True
        rest = page(mixed, "u-new", "de", cursor=first["next_cursor"])
        assert {item["story_id"][:2] for item in rest["items"]} == {"de"}

    def test_of_somebody_whose_languages_are_known_it_says_nothing(self, mixed: FeedServer) -> None:
        first = page(mixed, "u-en", "de")
        assert {item["story_id"][:2] for item in first["items"]} == {"en"}
        assert page(mixed, "u-en", "fr")["slate"] == {**first["slate"], "cached": True}

    def test_what_somebody_has_read_counts_beside_it(self, mixed: FeedServer) -> None:
        assert languages(mixed, "u-read", "de") == {"de", "en"}

    @pytest.mark.parametrize(
        "header", ["is", "fr", "*", "", ",;,", "de;q=2", "de;q=nan", "de;q=", "d!", "und", "de," * 500, "\xe9"]
    )
    def test_one_that_says_nothing_or_leaves_too_little_changes_nothing(self, mixed: FeedServer, header: str) -> None:
        answer = mixed.http.get(
            "/v1/users/u-new/feed", params={"limit": 100}, headers={"Accept-Language": header.encode("latin-1")}
        )
        assert {item["story_id"][:2] for item in answer.json()["items"]} == {"de", "en", "is"}

    def test_explain_tells_of_it(self, mixed: FeedServer) -> None:
        def told(user: str, header: str) -> Any:
            path = f"/v1/users/{user}/feed/explain"
            return mixed.http.get(path, headers={"Accept-Language": header}).json()["languages"]

        assert told("u-new", "de-AT, en;q=0") == {"known_from": "accept_language", "read": ["de"]}
        assert told("u-new", "is") == {"known_from": None, "read": []}
        assert told("u-en", "de") == {"known_from": "profile", "read": ["en"]}
        assert told("u-read", "de") == {"known_from": "accept_language", "read": ["de", "en"]}
