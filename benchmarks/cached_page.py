"""A cached first page over HTTP, beside a bare route of the same server that returns the same bytes.

Both are asked in turn over one kept connection, so that whatever else the machine does falls on both alike.
"""

from __future__ import annotations

import http.client
import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import redis
from fastapi import FastAPI, Response
from rich.progress import Progress

from benchmarks.big_snapshot import AS_OF, publish_big
from benchmarks.measuring import elapsed_ms, served
from benchmarks.results import Result, measured
from features.keys import Keys
from features.settings import Settings
from online.http.app import create_app
from online.service_settings import OnlineSettings
from rex.local.redis_server import server

STORIES, USERS = 500_000, 50
ROUNDS = 2_000
"""Requests of each kind: a steady median takes seconds."""
WARM_UP = 200
BAR = 3.0
"""How many times as long as the bare route a cached page may take."""
PATH = "/v1/users/user-0/feed"


def measure(progress: Progress) -> list[Result]:
    """Milliseconds of a cached page, validated and rendered, and sizes of slates."""
    with tempfile.TemporaryDirectory() as directory, server(Path(directory)) as running, running.client() as client:
        settings = Settings(
            var=Path(directory), lake=Path(directory) / "lake", redis_url=running.url, redis_timeout_s=30
        )
        publish_big(client, Keys(settings.redis_prefix), STORIES, USERS, seed=0, progress=progress)
        cached_ms, bare_ms = _measured(settings, progress)
        sizes = _slate_sizes(client, Keys(settings.redis_prefix))
    bare_p50, bare_p95 = (float(ms) for ms in np.percentile(bare_ms, [50, 95]))
    p50, p95 = (float(ms) for ms in np.percentile(cached_ms, [50, 95]))
    return [
        measured("cached_page_http_p50", p50, "ms", baseline=bare_p50, bar=BAR * bare_p50),
        measured("cached_page_http_p95", p95, "ms", baseline=bare_p95),
        *sizes,
    ]


def _measured(settings: Settings, progress: Progress) -> tuple[list[float], list[float]]:
    """Milliseconds of each request for the cached page, and for the bare route, of one app."""
    app = create_app(settings, OnlineSettings(strict=True), clock=lambda: AS_OF)
    with served(app) as port, closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        page = _get(connection, PATH)  # builds the slate, unless it is there
        _add_bare_route(app, page)
        return _in_turn(connection, progress)


def _add_bare_route(app: FastAPI, body: bytes) -> None:
    async def bare() -> Response:
        return Response(body, media_type="application/json")

    app.add_api_route("/bare", bare)


def _in_turn(connection: http.client.HTTPConnection, progress: Progress) -> tuple[list[float], list[float]]:
    """Milliseconds of each request for the cached page, and for the bare route."""
    cached: list[float] = []
    bare: list[float] = []
    task = progress.add_task("cached pages over HTTP", total=WARM_UP + ROUNDS)
    for i in range(WARM_UP + ROUNDS):
        for path, times in ((PATH, cached), ("/bare", bare)):
            times.append(elapsed_ms(partial(_get, connection, path)))
        progress.update(task, completed=i + 1)
    return cached[WARM_UP:], bare[WARM_UP:]


def _get(connection: http.client.HTTPConnection, path: str) -> bytes:
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != http.HTTPStatus.OK:
        raise RuntimeError(f"{path} answered {answer.status}: {body[:200]!r}")
    return body


def _slate_sizes(client: redis.Redis, keys: Keys) -> list[Result]:
    """Bytes in Redis of the one slate that was built, its place in its pagination session included."""
    (slate_id,) = client.hvals(keys.latest_slates("user-0"))
    assert isinstance(slate_id, bytes)
    of = ("user-0", slate_id.decode())
    slate, pagination_session = (client.memory_usage(key(*of)) or 0 for key in (keys.slate, keys.pagination_session))
    entries = OnlineSettings().cache.slate_size
    return [
        measured("slate_1000_bytes", float(slate), "B"),
        measured("slate_1000_session_bytes", float(pagination_session), "B"),
        measured("slate_entry_bytes", (slate + pagination_session) / entries, "B"),
    ]
