"""How soon a published story is in feeds, and a withdrawn one gone: put at one serving process, read at another.

Beside each stands a page of the same kind for which nothing has changed: what is above it is the price of the change.
"""

from __future__ import annotations

import http.client
import json
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from benchmarks.big_snapshot import AS_OF, publish_big
from benchmarks.measuring import elapsed_ms
from benchmarks.results import Result, measured
from features.keys import Keys
from features.settings import Settings
from rex.local.http import child_service
from rex.local.redis_server import server

STORIES, USERS = 500_000, 50
TRIES = 50
BAR_MS = 1000.0
"""Visible to users within a second (design, section 7)."""
WAIT_S = 120.0
"""A change that no page shows after this long is lost."""
READER = "reader"
"""Follows the authors of the tries and nobody else, so that what they publish is on top."""


def measure(progress: Progress) -> list[Result]:
    """Milliseconds from the answer to the change until a page shows it, the asking for that page included."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        running = stack.enter_context(server(directory))
        settings = Settings(var=directory, lake=directory / "lake", redis_url=running.url, redis_timeout_s=30)
        with running.client() as client:
            publish_big(client, Keys(settings.redis_prefix), STORIES, USERS, seed=0, progress=progress)
        writer, reader = (stack.enter_context(_process(settings)) for _ in range(2))
        task = progress.add_task("stories put and withdrawn", total=TRIES)
        tries = []
        for number in range(TRIES):
            tries.append(_try(writer, reader, number))
            progress.advance(task)
    shown, gone, ranked, cached = np.array(tries).T
    return [
        *_results("story_put_to_shown", shown, float(np.median(ranked))),
        *_results("story_withdrawn_to_gone", gone, float(np.median(cached))),
    ]


def _results(name: str, ms: np.ndarray, unchanged_ms: float) -> list[Result]:
    return [
        measured(f"{name}_p50", float(np.median(ms)), "ms", baseline=unchanged_ms),
        measured(f"{name}_max", float(ms.max()), "ms", bar=BAR_MS),
    ]


def _try(writer: http.client.HTTPConnection, reader: http.client.HTTPConnection, number: int) -> tuple[float, ...]:
    """Milliseconds: put to shown, withdrawn to gone, a ranked page, a cached page."""
    story, author = f"new-story-{number}", f"new-author-{number}"
    follow = {"event_id": f"follow-{number}", "user_id": READER, "type": "follow", "occurred_at": AS_OF.isoformat()}
    _call(writer, "POST", "/v1/events", {"events": [follow | {"target_type": "author", "target_id": author}]})
    ranked_ms = elapsed_ms(lambda: _page(reader, fresh=True))
    _call(writer, "PUT", f"/v1/stories/{story}", {"author_id": author, "published_at": AS_OF.isoformat()})
    shown_ms = elapsed_ms(lambda: _until(lambda: story in _page(reader, fresh=True)))
    cached_ms = elapsed_ms(lambda: _page(reader, fresh=False))
    _call(writer, "DELETE", f"/v1/stories/{story}")
    gone_ms = elapsed_ms(lambda: _until(lambda: story not in _page(reader, fresh=False)))
    return shown_ms, gone_ms, ranked_ms, cached_ms


def _page(process: http.client.HTTPConnection, *, fresh: bool) -> set[str]:
    path = f"/v1/users/{READER}/feed?limit=100&fresh={str(fresh).lower()}"
    return {item["story_id"] for item in _call(process, "GET", path)["items"]}


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it has not come to pass within {WAIT_S:.0f} s")
        time.sleep(0.001)


@contextmanager
def _process(settings: Settings) -> Iterator[http.client.HTTPConnection]:
    """A serving process of `rex serve`, whose clock starts at AS_OF, and a connection to it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "REX_VAR": str(settings.var),
        "REX_LAKE": str(settings.lake),
        "REX_REDIS_URL": settings.redis_url,
        "REX_REDIS_TIMEOUT_S": str(settings.redis_timeout_s),
        "REX_ONLINE_AS_IF": AS_OF.isoformat(),
        "REX_ONLINE_STRICT": "true",
    }
    with (
        child_service(["serve"], port, environment, settings.var / f"serve-{port}.log"),
        closing(http.client.HTTPConnection("127.0.0.1", port)) as connection,
    ):
        yield connection


def _call(process: http.client.HTTPConnection, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    content = None if body is None else json.dumps(body)
    process.request(method, path, content, {"Content-Type": "application/json"} if content else {})
    answer = process.getresponse()
    data = answer.read()
    if answer.status >= http.HTTPStatus.BAD_REQUEST:
        raise RuntimeError(f"{method} {path} answered {answer.status}: {data[:200]!r}")
    return json.loads(data)
