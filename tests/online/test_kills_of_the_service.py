"""The service killed while a client sends, and Redis killed while it serves: what was acknowledged is there, once."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import redis

from features.keys import hash64
from online.feed.served_log import ServedLog
from online.streams.archiver import archive
from rex.local.http import http_client
from rex.local.redis_server import Server, server
from tests.online.archive_lake import KEYS, accept, archived, entries, event, rows, stream_of
from tests.online.conftest import STORIES, USERS, FeedServer, wait_until

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
SENDERS = [f"u{number}" for number in range(4)]
EVENTS = 400
AT_ONCE = 4
"""Events of one request."""


class Service:
    """`rex serve` as a process of its own, on one port for all its lives."""

    def __init__(self, url: str, root: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.lake = root / "lake"
        self._environment = os.environ | {
            "REX_REDIS_URL": url,
            "REX_LAKE": str(self.lake),
            "REX_VAR": str(root / "var"),
            "REX_ONLINE_STREAMS_ARCHIVE_EVERY_S": "0.05",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "rex", "serve", "--port", str(self.port)]
        self.process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stderr=subprocess.DEVNULL)
        wait_until(self._answers, within_s=60)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def client(self) -> httpx.Client:
        return http_client(f"http://127.0.0.1:{self.port}", timeout=10)

    def _answers(self) -> bool:
        with self.client() as http:
            try:
                return http.get("/healthz").status_code == 200
            except httpx.TransportError:
                return False


@pytest.fixture
def service(redis_server: Server, redis_client: redis.Redis, tmp_path: Path) -> Iterator[Service]:
    made = Service(redis_server.url, tmp_path)
    try:
        yield made
    finally:
        made.kill()


def batches() -> list[list[dict[str, Any]]]:
    """Reads of one story each and, every tenth, a follow; all with ids of their own."""
    at = datetime.now(UTC).isoformat()
    made = []
    for number in range(EVENTS):
        about: dict[str, Any] = {"type": "read", "story_id": f"s{number}"}
        if number % 10 == 0:
            about = {"type": "follow", "target_type": "author", "target_id": f"a{number}"}
        made.append({"event_id": f"e{number}", "user_id": SENDERS[number % 4], "occurred_at": at, **about})
    return [made[start : start + AT_ONCE] for start in range(0, EVENTS, AT_ONCE)]


def send_until_killed(service: Service, waiting: list[list[dict[str, Any]]]) -> int:
    """Sends what waits, in order, until the service is gone; returns how many events were told to be duplicates."""
    duplicates = 0
    with service.client() as http:
        while waiting:
            try:
                answer = http.post("/v1/events", json={"events": waiting[0]})
            except httpx.TransportError:
                break  # not acknowledged: it stays first
            assert answer.status_code == 202, answer.text
            duplicates += answer.json()["duplicates"]
            waiting.pop(0)
    return duplicates


def lose_the_answer(service: Service, client: redis.Redis, batch: list[dict[str, Any]]) -> None:
    """The batch is applied, and the service killed before the client has read a word of the answer."""
    body = orjson.dumps({"events": batch})
    head = f"POST /v1/events HTTP/1.1\r\nHost: rex\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(head.encode() + body)
        seen = [KEYS.event_seen(event["user_id"], event["event_id"]) for event in batch]
        wait_until(lambda: client.exists(*seen) == len(seen))
        service.kill()


def test_the_service_killed_while_a_client_sends(service: Service, redis_client: redis.Redis, tmp_path: Path) -> None:
    waiting = batches()
    sent = [event for batch in waiting for event in batch]
    service.start()
    killer = threading.Timer(random.Random(1).uniform(0.05, 0.2), service.kill)
    killer.start()
    send_until_killed(service, waiting)
    killer.join()
    assert waiting, "it was not killed while the client was sending"
    service.start()
    lose_the_answer(service, redis_client, waiting[0])
    service.start()
    repeated = send_until_killed(service, waiting)
    assert repeated >= AT_ONCE, "what was applied without the client's knowing was applied again"
    service.kill()
    redis_client.delete(KEYS.archive_lease())  # as when the killed archiver's has run out
    archive(redis_client, KEYS, service.lake)

    expected = sorted(event["event_id"] for event in sent)
    streams = [
        document["event_id"]
        for stream in {stream_of(user) for user in SENDERS}
        for _, document in entries(redis_client, stream)
    ]
    assert sorted(streams) == expected, "an event is missing from the streams, or applied twice"
    reads = {event["event_id"] for event in sent if event["type"] == "read"}
    assert set(archived(service.lake)) == reads
    assert len(set(rows(service.lake))) == len(reads)
    for user in SENDERS:
        mine = [event for event in sent if event["user_id"] == user]
        interactions = redis_client.zrange(KEYS.interactions(user), 0, -1)
        assert {int.from_bytes(interaction[:8], "little", signed=True) for interaction in interactions} == {  # type: ignore[arg-type]
            hash64(event["story_id"]) for event in mine if event["type"] == "read"
        }
        edges: Any = redis_client.hkeys(KEYS.edges(user))
        assert {edge.decode().split("|")[-1] for edge in edges} == {
            event["target_id"] for event in mine if event["type"] == "follow"
        }


def test_without_the_memory_of_event_ids_a_retry_is_applied_twice(redis_client: redis.Redis) -> None:
    """The guard switched off: what the test above shows does not hold then."""
    sent = [event("e1", SENDERS[0]), event("e2", SENDERS[0])]
    accept(redis_client, *sent)
    redis_client.delete(*(KEYS.event_seen(one["user_id"], one["event_id"]) for one in sent))
    accept(redis_client, *sent)
    there = [document["event_id"] for _, document in entries(redis_client, stream_of(SENDERS[0]))]
    assert there == ["e1", "e2", "e1", "e2"]


class TestRedisKilled:
    @pytest.fixture
    def redis_server(self, tmp_path: Path) -> Iterator[Server]:
        """A server of its own, because it is going to be killed; it syncs before it answers."""
        with server(tmp_path / "own-redis", appendfsync="always") as running:
            yield running

    @pytest.fixture
    def redis_client(self, redis_server: Server) -> Iterator[redis.Redis]:
        with redis_server.client() as client:
            yield client

    def test_it_comes_back_to_the_same_feeds(
        self, feed_server: FeedServer, redis_server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Every showing that is noted sinks a story a little, and so would change the order of a later fresh list.
        monkeypatch.setattr(ServedLog, "note", lambda log, page: None)
        feed_server.publish(STORIES, USERS)
        feed_server.send(
            feed_server.event("e1", "u-fan", "read", story_id="s01"),
            feed_server.event("e2", "u-fan", "mute", target_type="author", target_id="a2"),
            feed_server.event("e3", "u-new", "follow", target_type="topic", target_id="t1"),
        )
        feed_server.http.delete("/v1/stories/s05")
        first = {user: feed_server.feed(user, limit=5) for user in ("u-fan", "u-new")}
        asked = [
            query
            for user, page in first.items()
            for query in ((user, {"limit": 5}), (user, {"limit": 5, "cursor": page["next_cursor"]}))
        ]
        fresh = {user: feed_server.feed(user, limit=100, fresh=True)["items"] for user in first}
        before = [feed_server.feed(user, **query) for user, query in asked]
        redis_server.restart()
        wait_until(lambda: feed_server.http.get("/readyz").status_code == 200)
        assert [feed_server.feed(user, **query) for user, query in asked] == before
        assert {user: feed_server.feed(user, limit=100, fresh=True)["items"] for user in first} == fresh
        assert feed_server.send(feed_server.event("e1", "u-fan", "read", story_id="s01"))["duplicates"] == 1
