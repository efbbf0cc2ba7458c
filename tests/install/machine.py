"""What tests of the installation share: a fresh copy of the project, its demo, the Pythons it supports."""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOW, HIGH = map(
    int, re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', (ROOT / "pyproject.toml").read_text()).groups()
)
PYTHONS = [f"3.{minor}" for minor in range(LOW, HIGH)]
"""Versions of Python that Rex supports, as pyproject.toml says."""
SMALL = "--users 300 --stories 1500 --events 30000"
"""A demo of a minute, most of which Spark takes to start and stop."""
INSTALL_AND_DEMO_WITHIN_S = 1500
"""Some minutes; the rest is for a slow index."""


def tracked() -> list[str]:
    """Every file of the project: those that git tracks."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in filter(None, listed.split("\0")) if (ROOT / name).exists()]


def fresh_copy(to: Path) -> None:
    """The project's files at `to`, as a clone has them: those that git tracks, and no others."""
    for name in tracked():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, to / name)


def demo_command(python: str) -> list[str]:
    """`make demo` that ends by itself, with the two ports of its services free at the moment."""
    return ["make", "demo", "SERVE=0", f"PYTHON={python}", f"ARGS={SMALL} --port {two_free_ports()}"]


def check_demo(command: list[str], environment: Mapping[str, str], cwd: Path | None = None) -> None:
    """Runs `command`, which makes a demo, and prints what it says. AssertionError unless it shows a feed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=INSTALL_AND_DEMO_WITHIN_S,
    )
    print(done.stdout)
    assert done.returncode == 0, f"`make demo` failed: {done.stdout[-2000:]}"
    assert "ranked by" in done.stdout, f"`make demo` showed no feed: {done.stdout[-2000:]}"


def clean_environment(**more: str) -> dict[str, str]:
    """Where to find packages, as this machine is configured, and nothing of the environment that the tests run in."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("PIP_") or name.lower().endswith("_proxy") or name in {"SSL_CERT_FILE", "SSL_CERT_DIR"}
    }
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **kept, **more}


def two_free_ports() -> int:
    """The first of two neighbours that nobody listens on, below those that systems give to connections meanwhile."""
    while True:
        port = random.randrange(10_000, 30_000)
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
