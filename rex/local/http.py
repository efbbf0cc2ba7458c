"""HTTP from this machine: clients, for which proxies of the environment are for other machines, and a service in a process of its own."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from features.errors import BadInput, Unavailable

READY_WITHIN_S = 60
"""Loading a snapshot of a few thousand stories takes about a second; a minute is a machine in trouble."""


def http_client(url: str, **options: Any) -> httpx.Client:
    """A client of the service at `url`. Through the proxy that the environment names, unless the service is on this machine.

    BadInput when the proxy is of a kind that cannot be used, or the URL none.
    """
    try:
        return httpx.Client(base_url=url, trust_env=not is_loopback(url), **options)
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise BadInput(
            f"{url} cannot be asked with these proxy settings ({error}); "
            "name an http:// proxy in HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, or exclude the address with NO_PROXY."
        ) from error


def is_loopback(url: str) -> bool:
    """Whether `url` stays on this machine."""
    host = httpx.URL(url).host.rstrip(".")
    try:
        address = ipaddress.ip_address(host)
        mapped = getattr(address, "ipv4_mapped", None) or address
        return mapped.is_loopback or mapped.is_unspecified  # 0.0.0.0 is what a server listens on
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


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
