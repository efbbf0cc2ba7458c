"""Keeps the bundled server alive while processes use it: `python redis_keeper.py USERS_LOCK COMMAND…`.

Each of them holds a shared flock on USERS_LOCK, which the kernel releases however the process ends. The keeper runs COMMAND as
its child and waits for that lock exclusively; when it has it, no process uses the server, and it stops it. It holds the
lock until the server is gone, so that a process that comes meanwhile waits and then starts another. Standard library only: this starts in
some 20 ms, without the project's own packages.
"""

from __future__ import annotations

import ctypes
import fcntl
import signal
import subprocess
import sys
import threading
from typing import Any

STOP_TIMEOUT_S = 20.0
"""On SIGTERM the server only has to flush its append-only file."""
PR_SET_PDEATHSIG = 1
"""`prctl`: the signal that Linux sends to a process when its parent ends."""


def keep(lock: str, command: list[str]) -> int:
    """Runs `command` until it ends or the last holder of `lock` has gone; returns its exit code."""
    follow = _end_with_parent if sys.platform == "linux" else None
    # SIGXFSZ stays ignored, as it is in Python: under `ulimit -f` a write fails, as on a full disk, and the server lives.
    server = subprocess.Popen(command, restore_signals=False, preexec_fn=follow)

    def terminate(*_: Any) -> None:
        server.terminate()

    signal.signal(signal.SIGTERM, terminate)
    with open(lock) as users:
        threading.Thread(target=_stop_when_unused, args=(users, server), daemon=True).start()
        return server.wait()


def _stop_when_unused(users: Any, server: subprocess.Popen[bytes]) -> None:
    fcntl.flock(users, fcntl.LOCK_EX)
    server.terminate()
    try:
        server.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        server.kill()


def _end_with_parent() -> None:
    """Called in the child: a keeper that is killed takes the server with it, which else nobody would ever stop."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(keep(sys.argv[1], sys.argv[2:]))
