"""An HTTP service in a process of its own, for as long as a `with` block lasts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from features.errors import Unavailable
from rex.local.http import http_client

READY_WITHIN_S = 60
"""Loading a snapshot of a few thousand stories takes about a second; a minute is a machine in trouble."""


@contextmanager
def child_service(
    arguments: Sequence[str],
    port: int,
    environment: Mapping[str, str],
    log: Path,
    ours: Callable[[Mapping[str, Any]], bool] = lambda ready: True,
) -> Iterator[str]:
    """`rex ARGUMENTS --port PORT` with `environment` beside this process's own; yields its URL once it is ready.

    `ours` looks at what `/readyz` says: another service may answer on this port. Unavailable when it does not become ready.
    """
    command = [sys.executable, "-m", "rex", *arguments, "--port", str(port)]
    with (
        log.open("w") as words,
        subprocess.Popen(command, env={**os.environ, **environment}, stdout=words, stderr=words) as process,
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(url, process, ours, log)
            yield url
        finally:
            process.terminate()
            process.wait()


def _wait_until_ready(
    url: str, process: subprocess.Popen[bytes], ours: Callable[[Mapping[str, Any]], bool], log: Path
) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with http_client(url, timeout=5.0) as client:
                answer = client.get("/readyz")
            if answer.status_code == httpx.codes.OK and ours(answer.json()):
                return
        except httpx.TransportError:
            pass  # not listening yet
        time.sleep(0.2)
    raise Unavailable(f"the service at {url} did not become ready; its last words are in {log}.")
