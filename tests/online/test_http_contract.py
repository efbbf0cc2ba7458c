"""What HTTP clients rely on whatever they call: paths, methods, headers, media types, origins and problems."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import httpx
import orjson
import pytest

from features.keys import Keys, hash64
from features.settings import Settings
from online.http import problems
from online.http.app import create_app
from rex.local.redis_server import Server
from tests.online.colliding_ids import colliding_ids
from tests.online.conftest import OFTEN, STORIES, USERS, FeedServer, serving, wait_until
from tests.online.small_world import NOW

SHOP = "https://shop.example"
CALLS = [
    "/v1/users/u-fan/feed",
    "/v1/users/u-fan/feed/explain",
    "/v1/users/u-fan",
    "/v1/snapshots",
    "/healthz",
    "/readyz",
    "/metrics",
]
STORY = {"published_at": "2026-01-30T00:00:00Z", "author_id": "a1"}


KNOWN, TWIN = colliding_ids("k---")


@pytest.fixture(scope="module")
def served(redis_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeedServer]:
    """One service for all: what is asked here is refused, or is about a story or user of its own."""
    with redis_server.client() as client:
        client.flushall()
        folder = tmp_path_factory.mktemp("contract")
        settings = Settings(var=folder / "var", lake=folder / "lake", redis_url=redis_server.url)
        with serving(create_app(settings, OFTEN, clock=lambda: NOW)) as http:
            made = FeedServer(http, client, Keys(settings.redis_prefix), settings)
            made.publish([*STORIES, {"id": "s-known", "author": KNOWN}], USERS)
            yield made


@pytest.fixture(scope="module")
def open_to_shop(served: FeedServer) -> Iterator[FeedServer]:
    """The same service, once more, for pages of one other origin."""
    online = OFTEN.model_copy(update={"http": replace(OFTEN.http, cors_origins=(SHOP,))})
    with serving(create_app(served.settings, online, clock=lambda: NOW)) as http:
        open_one = FeedServer(http, served.client, served.keys, served.settings)
        open_one.wait_for(served.http.get("/readyz").json()["snapshot"])
        yield open_one


def is_problem(answer: httpx.Response, status: int, kind: str) -> bool:
    """Whether the answer is a problem as docs/api.md lists it."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    told = answer.json()
    assert (answer.status_code, told["type"], told["status"]) == (status, f"urn:rex:{kind}", status), answer.text
    return (kind, status) in {(problem.name, problem.status) for problem in problems.PROBLEMS}


class TestPaths:
    @pytest.mark.parametrize("path", [*CALLS, "/v1/events", "/v1/stories/s01"])
    def test_a_trailing_slash_is_another_path_and_never_redirected(self, served: FeedServer, path: str) -> None:
        for method in ("GET", "PUT", "DELETE", "POST"):
            assert is_problem(served.http.request(method, f"{path}/"), 404, "not_found")

    def test_a_trailing_slash_withdraws_no_other_story(self, served: FeedServer) -> None:
        served.http.put("/v1/stories/caf%C3%A9", json=STORY)
        assert served.http.delete("/v1/stories/caf%25C3%25A9/", follow_redirects=True).status_code == 404
        assert "café" in served.stories("u-new", limit=100)

    @pytest.mark.parametrize("ident", ["%FF", "a%C3", "%ED%A0%80", "%C0%AF"])
    def test_an_id_that_is_not_utf_8_is_refused_everywhere(self, served: FeedServer, ident: str) -> None:
        """Not replaced by U+FFFD: two stories would share that id."""
        for method, path in (
            ("PUT", f"/v1/stories/{ident}"),
            ("DELETE", f"/v1/stories/{ident}"),
            ("GET", f"/v1/users/{ident}"),
            ("GET", f"/v1/users/{ident}/feed"),
            ("GET", f"/v1/users/u-new/feed/explain?story_id={ident}"),
        ):
            answer = served.http.request(method, path, json=STORY if method == "PUT" else None)
            assert is_problem(answer, 422, "invalid_request")

    @pytest.mark.parametrize("ident", [".", ".."])
    def test_the_ids_dot_and_dot_dot_are_refused_where_they_come_in(self, served: FeedServer, ident: str) -> None:
        """No path can name them: clients take them for a step to another folder."""
        escaped = ident.replace(".", "%2E")
        connection = http.client.HTTPConnection("127.0.0.1", served.http.base_url.port)
        for method, path in (("PUT", f"/v1/stories/{escaped}"), ("GET", f"/v1/users/{escaped}/feed")):
            connection.request(method, path, orjson.dumps(STORY), {"content-type": "application/json"})
            answer = connection.getresponse()
            assert (answer.status, b"urn:rex:invalid_request" in answer.read()) == (422, True)
        connection.close()
        for field in ("author_id", "publication_id", "topics"):
            body = STORY | {field: [ident] if field == "topics" else ident}
            assert is_problem(served.http.put("/v1/stories/s-new", json=body), 422, "invalid_request")
        read = served.event("e1", "u-new", "read", story_id="s01")
        follow = served.event("e2", "u-new", "follow", target_type="author", target_id="a1")
        bad = [read | {name: ident} for name in ("event_id", "user_id", "story_id")] + [follow | {"target_id": ident}]
        assert [refused["code"] for refused in served.send(*bad)["rejected"]] == ["malformed"] * 4

    def test_every_id_may_hold_a_slash(self, served: FeedServer) -> None:
        user, story, author, publication, topic = "u/1", "https://x.org/s/", "a/1", "p//1", "/t"
        body = STORY | {"author_id": author, "publication_id": publication, "topics": [topic]}
        assert served.http.put(f"/v1/stories/{quote(story, safe='')}", json=body).status_code == 202
        follow = {"target_type": "author", "target_id": author}
        assert served.send(served.event("e/1", user, "follow", **follow))["accepted"] == 1
        first = served.feed(quote(user, safe=""))["items"][0]
        assert (first["story_id"], first["author_id"], first["topics"]) == (story, author, [topic])
        assert served.http.get(f"/v1/users/{quote(user, safe='')}").json()["follows"]["author"] == [author]
        explained = served.http.get(f"/v1/users/{quote(user, safe='')}/feed/explain", params={"story_id": story})
        assert explained.json()["story"]["known"]
        served.send(served.event("e/2", user, "read", story_id=story, request_id="r/1"))
        assert story not in served.stories(quote(user, safe=""))
        assert served.http.delete(f"/v1/stories/{quote(story, safe='')}").status_code == 202


class TestMethods:
    @pytest.mark.parametrize("path", [*CALLS, "/docs", "/openapi.json"])
    def test_head_answers_as_get_does_without_a_body(self, served: FeedServer, path: str) -> None:
        head, get = served.http.head(path), served.http.get(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == get.headers["content-type"]

    def test_head_of_what_cannot_be_says_what_get_would(self, served: FeedServer) -> None:
        assert served.http.head("/v1/users/u-fan/feed?limit=0").status_code == 422
        assert served.http.head("/v1/users/u-fan/feed?cursor=x").status_code == 400
        assert served.http.head("/v1/nowhere").status_code == 404

    def test_a_feed_whose_head_was_asked_for_counts_as_served_to_nobody(self, served: FeedServer) -> None:
        for _ in range(3):
            assert served.http.head("/v1/users/u-head/feed").status_code == 200
        served.feed("u-other")
        wait_until(lambda: served.client.exists(served.keys.served_history("u-other")))
        assert not served.client.exists(served.keys.served_history("u-head"))

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            *(("DELETE", path, {"GET", "HEAD"}) for path in CALLS if path != "/v1/users/u-fan"),
            ("DELETE", "/v1/users/u-fan", {"GET", "HEAD", "PUT"}),
            ("GET", "/v1/events", {"POST"}),
            ("HEAD", "/v1/events", {"POST"}),
            ("GET", "/v1/stories/s01", {"PUT", "DELETE"}),
            ("PATCH", "/v1/stories/s01", {"PUT", "DELETE"}),
            ("OPTIONS", "/v1/events", {"POST"}),
        ],
    )
    def test_a_method_that_is_not_there_is_answered_with_those_that_are(
        self, served: FeedServer, method: str, path: str, allowed: set[str]
    ) -> None:
        answer = served.http.request(method, path)
        assert answer.status_code == 405
        assert set(answer.headers["allow"].split(", ")) == allowed


class TestQueries:
    @pytest.mark.parametrize("path", CALLS)
    def test_an_unknown_parameter_is_refused_by_its_name(self, served: FeedServer, path: str) -> None:
        for name in ("Limit", "page"):
            answer = served.http.get(path, params={name: "5"})
            assert is_problem(answer, 422, "invalid_request")
            assert answer.json()["errors"][0]["where"] == f"query.{name}"

    def test_writing_calls_take_none(self, served: FeedServer) -> None:
        for method, path, body in (
            ("PUT", "/v1/stories/s01", STORY),
            ("DELETE", "/v1/stories/s01", None),
            ("POST", "/v1/events", {"events": []}),
        ):
            answer = served.http.request(method, path, params={"dry_run": "true"}, json=body)
            assert is_problem(answer, 422, "invalid_request")
            assert "dry_run" in answer.json()["detail"]

    def test_a_parameter_given_twice_is_refused(self, served: FeedServer) -> None:
        assert is_problem(served.http.get("/v1/users/u-fan/feed?limit=5&limit=9"), 422, "invalid_request")


class TestBodies:
    def test_what_is_compressed_is_refused(self, served: FeedServer) -> None:
        for method, path in (("POST", "/v1/events"), ("PUT", "/v1/stories/s01")):
            headers = {"content-type": "application/json", "content-encoding": "gzip"}
            answer = served.http.request(method, path, content=b"\x1f\x8b", headers=headers)
            assert is_problem(answer, 415, "unsupported_media_type")
            assert "gzip" in answer.json()["detail"]

    @pytest.mark.parametrize(
        "media", [None, "text/html", "application/x-www-form-urlencoded", "application/xml", "json", "text/plain"]
    )
    def test_another_type_than_json_is_refused(self, served: FeedServer, media: str | None) -> None:
        for method, path in (("POST", "/v1/events"), ("PUT", "/v1/stories/s01")):
            headers = {} if media is None else {"content-type": media}
            answer = served.http.request(method, path, content=b'{"events": []}', headers=headers)
            assert is_problem(answer, 415, "unsupported_media_type")
            assert "application/json" in answer.json()["detail"]

    def test_json_with_a_charset_is_json(self, served: FeedServer) -> None:
        headers = {"content-type": "Application/JSON; charset=UTF-8", "content-encoding": "identity"}
        assert served.http.post("/v1/events", content=b'{"events": []}', headers=headers).status_code == 202

    @pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b'{"events": [' + b"9" * 5000 + b"]}", b""])
    def test_a_body_that_is_no_json_is_an_invalid_request(self, served: FeedServer, body: bytes) -> None:
        answer = served.http.post("/v1/events", content=body, headers={"content-type": "application/json"})
        assert is_problem(answer, 422, "invalid_request")


class TestBeacons:
    @pytest.fixture
    def beacon(self, served: FeedServer) -> bytes:
        """64 kB, the most that browsers take, as `navigator.sendBeacon(url, text)` sends them."""
        event = served.event("e0", "u-new", "impression", story_id="s01")
        events = [event | {"event_id": f"e{i}"} for i in range(64 * 1024 // (len(orjson.dumps(event)) + 3))]
        body = orjson.dumps({"events": events})
        assert 60_000 < len(body) <= 65_536
        return body + b" " * (65_536 - len(body))

    def send(self, to: FeedServer, body: bytes, origin: str | None) -> httpx.Response:
        headers = {"content-type": "text/plain;charset=UTF-8"} | ({} if origin is None else {"origin": origin})
        return to.http.post("/v1/events", content=body, headers=headers)

    def test_one_from_the_services_own_pages_is_accepted(self, served: FeedServer, beacon: bytes) -> None:
        own = str(served.http.base_url).rstrip("/")
        answer = self.send(served, beacon, own)
        assert answer.status_code == 202, answer.text
        assert answer.json()["accepted"] > 400

    def test_one_from_an_origin_in_the_setting_is_accepted(self, open_to_shop: FeedServer, beacon: bytes) -> None:
        answer = self.send(open_to_shop, beacon, SHOP)
        assert answer.status_code == 202, answer.text
        assert answer.headers["access-control-allow-origin"] == SHOP

    @pytest.mark.parametrize(
        "origin", ["https://evil.example", "null", "https://shop.example.evil.example", "http://[", None]
    )
    def test_one_from_anywhere_else_is_not(self, open_to_shop: FeedServer, beacon: bytes, origin: str | None) -> None:
        stream = open_to_shop.keys.event_stream(open_to_shop.keys.partition("u-new"))
        before = open_to_shop.client.xlen(stream)
        answer = self.send(open_to_shop, beacon.replace(b"e1", b"x1"), origin)
        assert is_problem(answer, 415, "unsupported_media_type")
        assert open_to_shop.client.xlen(stream) == before

    def test_stories_and_users_come_by_no_beacon(self, open_to_shop: FeedServer) -> None:
        headers = {"content-type": "text/plain", "origin": SHOP}
        answer = open_to_shop.http.put("/v1/stories/s01", content=orjson.dumps(STORY), headers=headers)
        assert is_problem(answer, 415, "unsupported_media_type")


class TestOrigins:
    def test_other_origins_are_let_in_by_nothing_unless_set(self, served: FeedServer) -> None:
        answer = served.http.get("/v1/users/u-fan/feed", headers={"origin": SHOP})
        assert not [name for name in answer.headers if name.startswith("access-control")]

    def test_one_in_the_setting_may_read_and_write(self, open_to_shop: FeedServer) -> None:
        answer = open_to_shop.http.get("/v1/users/u-fan/feed", headers={"origin": SHOP})
        assert answer.headers["access-control-allow-origin"] == SHOP
        for method in ("GET", "POST", "PUT", "DELETE"):
            asked = {"origin": SHOP, "access-control-request-method": method}
            asked["access-control-request-headers"] = "content-type"
            preflight = open_to_shop.http.options("/v1/events", headers=asked)
            assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, SHOP)
            assert method in preflight.headers["access-control-allow-methods"]

    def test_another_one_is_told_nothing(self, open_to_shop: FeedServer) -> None:
        evil = {"origin": "https://evil.example", "access-control-request-method": "POST"}
        assert "access-control-allow-origin" not in open_to_shop.http.get("/v1/snapshots", headers=evil).headers
        assert is_problem(open_to_shop.http.options("/v1/events", headers=evil), 403, "origin_not_allowed")

    def test_every_problem_can_be_read_there(self, open_to_shop: FeedServer, monkeypatch: pytest.MonkeyPatch) -> None:
        """A page would otherwise see a network error where the service said what was wrong."""

        def fail(*arguments: Any) -> None:
            raise ZeroDivisionError("a bug")

        monkeypatch.setattr("online.http.routes.about_user", fail)
        for path, status in (
            ("/v1/users/u-fan/feed?limit=0", 422),
            ("/v1/nowhere", 404),
            ("/v1/events", 405),
            ("/v1/users/u-fan", 500),
        ):
            answer = open_to_shop.http.get(path, headers={"origin": SHOP})
            assert answer.status_code == status
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["access-control-allow-origin"] == SHOP

    @pytest.mark.parametrize("origin", ["shop.example", "https://shop.example/", "https://shop.example/page", ""])
    def test_what_is_no_origin_is_refused_at_start(self, origin: str) -> None:
        with pytest.raises(ValueError, match="cors_origins"):
            type(OFTEN)(http={"cors_origins": (origin,)})


class TestHeaders:
    def test_nobody_keeps_what_is_one_users_at_one_moment(self, served: FeedServer) -> None:
        paths = (
            "/v1/users/u-fan/feed",
            "/v1/users/u-fan/feed",  # from a cached slate
            "/v1/users/u-fan/feed?limit=0",
            "/v1/users/u-fan/feed/explain",
            "/v1/users/u-fan",
        )
        for path in paths:
            assert served.http.get(path).headers["cache-control"] == "private, no-store", path


def times_in(told: Any, name: str = "") -> Iterator[str]:
    """Every value of a member whose name says that it is a time."""
    if isinstance(told, dict):
        for key, value in told.items():
            yield from times_in(value, key)
    elif isinstance(told, list):
        for value in told:
            yield from times_in(value, name)
    elif isinstance(told, str) and (name.endswith("_at") or name == "as_of"):
        yield told


def test_every_time_ends_in_z(served: FeedServer) -> None:
    body = STORY | {"published_at": "2026-01-30T05:30:00.5+05:30"}
    served.http.put("/v1/stories/s-zone", json=body)
    answers = [served.http.get(path).json() for path in CALLS if path != "/metrics"]
    late = served.event("e1", "u-new", "read", story_id="s01") | {"occurred_at": "2027-01-30T05:30:00+05:30"}
    answers.append(served.send(late))
    times = list(times_in(answers))
    assert len(times) > 20
    assert [time for time in times if not time.endswith("Z")] == []
    assert "+00:00" not in orjson.dumps(answers).decode()


class TestCollisions:
    """Found out here, one story is refused; found out by the next publisher, no snapshot would be published."""

    @pytest.mark.parametrize("field", ["author_id", "publication_id", "topics"])
    def test_a_name_with_the_hash_of_another_is_refused(self, served: FeedServer, field: str) -> None:
        known, other = colliding_ids("n---")
        assert hash64(known) == hash64(other)

        def put(story: str, ident: str) -> httpx.Response:
            return served.http.put(
                f"/v1/stories/{story}", json=STORY | {field: [ident] if field == "topics" else ident}
            )

        assert put("s-one", known).status_code == 202
        assert is_problem(put("s-two", other), 409, "hash_collision")
        assert put("s-two", known).status_code == 202

    def test_two_topics_of_one_story_may_not_share_one(self, served: FeedServer) -> None:
        body = STORY | {"topics": list(colliding_ids("t---"))}
        assert is_problem(served.http.put("/v1/stories/s-new", json=body), 409, "hash_collision")

    def test_two_stories_may_not_share_one(self, served: FeedServer) -> None:
        one, other = colliding_ids("s---")
        assert served.http.put(f"/v1/stories/{one}", json=STORY).status_code == 202
        assert is_problem(served.http.put(f"/v1/stories/{quote(other, safe='')}", json=STORY), 409, "hash_collision")

    def test_a_name_of_the_snapshot_counts(self, served: FeedServer) -> None:
        answer = served.http.put("/v1/stories/s-new", json=STORY | {"author_id": TWIN})
        assert is_problem(answer, 409, "hash_collision")


def test_null_means_in_a_put_what_it_means_in_the_lake(served: FeedServer) -> None:
    body = STORY | dict.fromkeys(("topics", "visibility", "members_only", "publication_id", "language", "title"))
    answer = served.http.put("/v1/stories/s-null", json=body)
    assert answer.status_code == 202, answer.text
    (item,) = [item for item in served.feed("u-null", limit=100)["items"] if item["story_id"] == "s-null"]
    assert (item["topics"], item["title"]) == ([], None)
