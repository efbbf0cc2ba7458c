"""A cached first page over HTTP, beside a bare route of the same server that returns the same bytes.

Both are asked in turn over one kept connection, so that whatever else the machine does falls on both alike.
"""

from __future__ import annotations

import http.client
import json
import tempfile
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

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
JUDGED_PATH = "/v1/users/user-1/feed"
"""The page of a user who has opened a story since the slate was built, so that every entry is judged again on each read."""
BARE_PATH = "/bare"


def measure(progress: Progress) -> list[Result]:
    """Milliseconds of a cached page, validated and rendered, and sizes of slates."""
    with tempfile.TemporaryDirectory() as directory, server(Path(directory)) as running, running.client() as client:
        settings = Settings(
            var=Path(directory), lake=Path(directory) / "lake", redis_url=running.url, redis_timeout_s=30
        )
        publish_big(client, Keys(settings.redis_prefix), STORIES, USERS, seed=0, progress=progress)
        ms = _measured(settings, progress)
        sizes = _slate_sizes(client, Keys(settings.redis_prefix))
    p50, p95 = ({path: float(np.percentile(of, share)) for path, of in ms.items()} for share in (50, 95))
    return [
        measured("cached_page_http_p50", p50[PATH], "ms", baseline=p50[BARE_PATH], bar=BAR * p50[BARE_PATH]),
        measured("cached_page_http_p95", p95[PATH], "ms", baseline=p95[BARE_PATH]),
        measured("cached_page_judged_http_p50", p50[JUDGED_PATH], "ms", baseline=p50[BARE_PATH]),
        *sizes,
    ]


def _measured(settings: Settings, progress: Progress) -> dict[str, list[float]]:
    """Path → milliseconds of each request, of one app."""
    app = create_app(settings, OnlineSettings(strict=True), clock=lambda: AS_OF)
    with served(app) as port, closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        page = _get(connection, PATH)  # builds the slate, unless it is there
        _add_bare_route(app, page)
        _open_first_story(connection, json.loads(_get(connection, JUDGED_PATH)))
        return _in_turn(connection, progress)


def _add_bare_route(app: FastAPI, body: bytes) -> None:
    async def bare() -> Response:
        return Response(body, media_type="application/json")

    app.add_api_route(BARE_PATH, bare)


def _open_first_story(connection: http.client.HTTPConnection, page: dict[str, Any]) -> None:
    """An event that changes the user's state, and leaves the slate in force."""
    opened = {"event_id": "opened", "user_id": "user-1", "type": "open", "story_id": page["items"][0]["story_id"]}
    event = json.dumps({"events": [opened | {"occurred_at": AS_OF.isoformat()}]})
    _answered(connection, "POST", "/v1/events", event, {"Content-Type": "application/json"})
    slate = json.loads(_get(connection, JUDGED_PATH))["slate"]
    if slate["id"] != page["slate"]["id"]:
        raise RuntimeError("the event has ended the slate, so no cached page would be measured")


def _in_turn(connection: http.client.HTTPConnection, progress: Progress) -> dict[str, list[float]]:
    """Path → milliseconds of each request."""
    ms: dict[str, list[float]] = {path: [] for path in (PATH, BARE_PATH, JUDGED_PATH)}
    task = progress.add_task("cached pages over HTTP", total=WARM_UP + ROUNDS)
    for i in range(WARM_UP + ROUNDS):
        for path, times in ms.items():
            times.append(elapsed_ms(partial(_get, connection, path)))
        progress.update(task, completed=i + 1)
    return {path: times[WARM_UP:] for path, times in ms.items()}


def _get(connection: http.client.HTTPConnection, path: str) -> bytes:
    return _answered(connection, "GET", path)


def _answered(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: str | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status not in (http.HTTPStatus.OK, http.HTTPStatus.ACCEPTED):
        raise RuntimeError(f"{path} answered {answer.status}: {content[:200]!r}")
    return content


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
