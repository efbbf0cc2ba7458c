"""What /readyz says of Redis, and that nothing waits for a Redis that hangs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from features.keys import Keys
from features.settings import Settings
from features.snapshot_reader import current_version, read_manifest
from online.http.app import create_app
from rex.local.redis_server import server
from tests.online.conftest import OFTEN, STORIES, USERS, FeedServer, serving, wait_until

TIMEOUT_S = 0.5
"""REX_REDIS_TIMEOUT_S of the service below."""


def warnings(served: FeedServer) -> list[str]:
    answer = served.http.get("/readyz")
    assert answer.status_code == 200, answer.text
    found: list[str] = answer.json()["warnings"]
    return found


class TestReadiness:
    def test_a_sound_redis_leaves_nothing_to_warn_of(self, served: FeedServer) -> None:
        assert warnings(served) == []

    def test_eviction_is_warned_of_also_when_it_is_switched_on_later(self, served: FeedServer) -> None:
        served.client.config_set("maxmemory", "1gb")
        served.client.config_set("maxmemory-policy", "volatile-ttl")
        try:
            assert any("volatile-ttl" in warning for warning in warnings(served))
        finally:
            served.client.config_set("maxmemory-policy", "noeviction")
            served.client.config_set("maxmemory", "0")

    def test_a_policy_that_is_not_told_is_warned_of(self, served: FeedServer) -> None:
        served.client.execute_command("ACL SETUSER default -info")
        try:
            assert any("INFO" in warning for warning in warnings(served))
        finally:
            served.client.execute_command("ACL SETUSER default +info")

    @pytest.mark.parametrize("kind", ["blob", "users"])
    def test_a_piece_that_is_gone_makes_it_not_ready(self, served: FeedServer, kind: str) -> None:
        manifest = read_manifest(served.client, served.keys, current_version(served.client, served.keys))
        piece = {
            "blob": served.keys.blob(manifest.tables["stories"][0]),
            "users": served.keys.users(next(filter(None, manifest.users))),
        }[kind]
        served.client.delete(piece)
        wait_until(lambda: served.http.get("/readyz").status_code == 503)
        detail = served.http.get("/readyz").json()["detail"]
        assert piece in detail
        assert "rex publish" in detail

    def test_a_stream_that_is_gone_is_told_by_the_archiver_and_here(
        self, served: FeedServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        served.send(served.event("e1", "u-fan", "read", story_id="s01"))
        stream = served.keys.event_stream(served.keys.partition("u-fan"))
        wait_until(lambda: served.client.exists(stream) and bool(served.client.xinfo_groups(stream)))
        wait_until(lambda: (served.settings.lake / "raw" / "_archived.json").exists())
        served.client.delete(stream)
        wait_until(lambda: any(stream in warning for warning in warnings(served)))
        assert any(stream in record.getMessage() for record in caplog.records), "the archiver went on silently"
        served.send(served.event("e2", "u-fan", "read", story_id="s02"))  # the stream is there again, and shorter
        assert any(stream in warning for warning in warnings(served)), "the loss is forgotten once the stream is back"
        told = sum(stream in record.getMessage() for record in caplog.records)
        time.sleep(3 * OFTEN.streams.archive_every_s)
        assert sum(stream in record.getMessage() for record in caplog.records) == told, "it is told over and over"


class TestRedisHangs:
    @pytest.fixture
    def hanging(self, tmp_path: Path) -> Iterator[FeedServer]:
        """A service that has served, and whose Redis then stops answering without closing a connection."""
        with server(tmp_path / "redis") as running, running.client() as client:
            settings = Settings(
                var=tmp_path / "var", lake=tmp_path / "lake", redis_url=running.url, redis_timeout_s=TIMEOUT_S
            )
            made = FeedServer(httpx.Client(), client, Keys(settings.redis_prefix), settings)
            with serving(create_app(settings, OFTEN, clock=lambda: made.now)) as made.http:
                made.publish(STORIES, USERS)
                made.feed("u-fan")
                assert running.process is not None
                os.kill(running.process.pid, signal.SIGSTOP)
                try:
                    yield made
                finally:
                    os.kill(running.process.pid, signal.SIGCONT)

    def test_every_answer_comes_within_its_bound(self, hanging: FeedServer) -> None:
        def asked(path: str) -> tuple[int, float]:
            started = time.monotonic()
            # One connection a request: httpx may close an idle one while another thread begins to use it.
            status = hanging.http.get(path, headers={"Connection": "close"}).status_code
            return status, time.monotonic() - started

        feeds = [f"/v1/users/{user}/feed" for user in ["u-fan", *(f"u{i}" for i in range(119))]]
        bounds = (("/healthz", 200, 0.5), ("/metrics", 200, 0.5), ("/nothing", 404, 0.5), ("/readyz", 503, 1.5))
        slowest = []
        with ThreadPoolExecutor(len(feeds)) as many:
            for _ in range(2):  # the second finds no connection that was there before Redis hung
                waiting = [many.submit(asked, path) for path in feeds]
                time.sleep(0.2)  # they all wait for Redis, in every thread there is
                for path, status, within_s in bounds:
                    # The quickest of three: other processes on the machine may delay one, a Redis that hangs delays all.
                    answers = [asked(path) for _ in range(3)]
                    assert {answered for answered, _ in answers} == {status}, f"{path}: {answers}"
                    assert min(took_s for _, took_s in answers) < within_s, f"{path}: {answers}"
                results = [one.result() for one in waiting]
                assert {status for status, _ in results} == {503}
                slowest.append(max(took_s for _, took_s in results))
        # One wait for an answer, and one more after a connection that another request gave up.
        assert max(slowest) < 1.0 + 3 * TIMEOUT_S + 1.0, f"feeds were held {slowest} s"
