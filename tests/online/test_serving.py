"""`rex serve` as real processes: behind a prefix, past a proxy, and stopped while clients ask."""

from __future__ import annotations

import http.server
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urljoin

import httpx
import numpy as np
import pytest
import redis

from batch.publish import publish_content
from features.errors import BadInput, Unavailable
from features.keys import Keys
from rex.cli.client import fetch_feed
from rex.local.http import _wait_until_ready, http_client
from rex.local.redis_server import Server
from rex.model_service.client import ModelService
from tests.online.conftest import STORIES, USERS, wait_until
from tests.online.small_world import content

pytestmark = pytest.mark.process

DEAD_PROXY = "http://127.0.0.1:9"
CLIENTS = 8


@dataclass
class Running:
    url: str
    process: subprocess.Popen[bytes]


@pytest.fixture
def two_workers(redis_server: Server, redis_client: redis.Redis, tmp_path: Path) -> Iterator[Running]:
    """Two workers behind one port that know that they are reached under `/rex`."""
    now = datetime.now(UTC)
    made = content(STORIES, USERS, now - timedelta(hours=12))
    publish_content(lambda: made, redis_client, Keys("rex:"), now=now, kept=3)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"REX_REDIS_URL": redis_server.url, "REX_VAR": str(tmp_path), "REX_LAKE": str(tmp_path / "lake")}
    environment["REX_ONLINE_HTTP_ROOT_PATH"] = "/rex"
    command = [sys.executable, "-m", "rex", "serve", "--workers", "2", "--port", str(port)]
    with (
        (tmp_path / "serve.log").open("w") as log,
        subprocess.Popen(command, env=os.environ | environment, stdout=log, stderr=log) as process,
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            # both workers, or the one that is still starting would be killed instead of drained
            wait_until(
                lambda: (tmp_path / "serve.log").read_text().count("Application startup complete") >= 2, within_s=60
            )
            yield Running(url, process)
        finally:
            process.terminate()
            process.wait(30)


class Relay(http.server.BaseHTTPRequestHandler):
    """Hands on what is asked under `/rex/`, without it, as `location /rex/ { proxy_pass http://upstream/; }` does."""

    upstream = ""

    def do_GET(self) -> None:
        if not self.path.startswith("/rex/"):
            self.send_error(404, "another application has this path")
            return
        with http_client(self.upstream) as client:
            answer = client.get(self.path.removeprefix("/rex"))
        self.send_response(answer.status_code)
        for name in ("content-type", "location"):
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        self.send_header("content-length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, format: str, *values: object) -> None:
        """Quiet."""


@pytest.fixture
def behind_a_prefix(two_workers: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Relay, "upstream", two_workers.url)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Relay) as relay:
        threading.Thread(target=relay.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{relay.server_address[1]}/rex/"
        relay.shutdown()


def ask_until_refused(url: str, seen: list[str]) -> None:
    """Connection after connection until none is accepted; notes each answer, and each connection that broke."""
    while True:
        try:
            with http_client(url, timeout=20) as client:
                seen.append(str(client.get("/v1/users/u-fan/feed", params={"fresh": "true"}).status_code))
        except httpx.ConnectError:
            return
        except httpx.TransportError as error:
            seen.append(repr(error))


def test_behind_a_prefix_past_a_proxy_and_stopped_under_load(
    two_workers: Running, behind_a_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One test, because starting two workers takes seconds."""
    page = http_client(behind_a_prefix).get("docs")
    asked = re.findall(r"""(?:href|src)="([^"]+)"|url: '([^']+)'""", page.text)
    assert len(asked) >= 4, page.text
    for path in {a or b for a, b in asked}:
        answer = http_client(behind_a_prefix).get(urljoin(behind_a_prefix, path))
        assert answer.status_code == 200, f"/docs asks for {path}, which is not there"
    assert http_client(behind_a_prefix).get("v1/users/u-fan/feed").status_code == 200

    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, DEAD_PROXY)
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    monkeypatch.setattr("rex.local.http.READY_WITHIN_S", 5)
    _wait_until_ready(two_workers.url, two_workers.process, lambda ready: True, Path("serve.log"))
    assert fetch_feed(two_workers.url, "u-fan", 3, None)[0]["items"]

    seen: list[list[str]] = [[] for _ in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as clients:
        asking = [clients.submit(ask_until_refused, two_workers.url, mine) for mine in seen]
        time.sleep(1.0)
        two_workers.process.send_signal(signal.SIGTERM)
        for one in asking:
            one.result(30)
    outcomes = [outcome for mine in seen for outcome in mine]
    assert outcomes.count("200") > CLIENTS, outcomes
    assert set(outcomes) == {"200"}, (
        f"{len(outcomes) - outcomes.count('200')} of {len(outcomes)} broke: {set(outcomes)}"
    )


class TestClients:
    @pytest.mark.parametrize(
        "url", ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "http://127.9.9.9:1"]
    )
    def test_loopback_never_goes_through_a_proxy(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")  # would be an ImportError
        monkeypatch.setenv("NO_PROXY", "")
        with http_client(url) as client:
            assert not client.trust_env

    def test_another_machine_goes_by_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Proxy(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked.append(self.path)
                self.send_error(502)

            def log_message(self, format: str, *values: object) -> None:
                """Quiet."""

        asked: list[str] = []
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
            threading.Thread(target=proxy.serve_forever, daemon=True).start()
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_address[1]}")
            service = ModelService("http://models.example", 5000)
            with pytest.raises(Unavailable):  # that it was asked is what counts here
                service.of("a" * 32).probabilities({"x": np.zeros(1, np.float32)}, 1)
            service.close()
            proxy.shutdown()
        assert asked == ["http://models.example/v1/models/" + "a" * 32 + "/score"]

    def test_a_proxy_that_cannot_be_used_is_one_sentence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
        with pytest.raises(BadInput, match="ALL_PROXY"):
            http_client("http://models.example")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_that_is_taken_is_one_sentence(workers: int, redis_server: Server, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [
            sys.executable,
            "-m",
            "rex",
            "serve",
            "--port",
            str(taken.getsockname()[1]),
            "--workers",
            str(workers),
        ]
        environment = os.environ | {"REX_VAR": str(tmp_path), "REX_REDIS_URL": redis_server.url}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("rex: The address is in use by another program"), done.stderr
