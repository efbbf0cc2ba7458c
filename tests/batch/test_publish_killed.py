"""A publisher killed at any of its steps: readers only ever see whole snapshots, and the next publisher tidies up."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
import redis

from batch.publish import Step, publish
from batch.versions import verify
from features.errors import Unavailable
from features.keys import Keys
from features.snapshot_reader import current_version, published, read_manifest
from rex.local.redis_server import Server
from tests.batch.feature_lake import AS_OF, many, write_features
from tests.http_server import wait_until

pytestmark = pytest.mark.process

pytest_plugins = ["tests.fixtures_redis"]
KEYS = Keys()
DAY = timedelta(days=1)
KEPT = 2
LEASE_TTL_S = 0.5
"""Short, so that the next publisher need not wait long for a dead one's lease."""
MOMENTS = [(step, 1) for step in get_args(Step)] + [("write", 3), ("delete", 2)]
"""Every step once, and the middle of the two that work piece by piece."""
FLIPPED = ("flip", "retire", "delete", "trim")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four days, each with other stories and users than the day before, and with what it shares."""
    lake = tmp_path_factory.mktemp("lake")
    for day in range(4):
        write_features(lake, many(20 + day, 600 + day), AS_OF + day * DAY)
    return lake


class Reader(threading.Thread):
    """Reads the current snapshot whole, over and over, as a serving process does."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.stopped = threading.Event()
        self.seen: list[str] = []
        self.failures: list[Exception] = []

    def run(self) -> None:
        with redis.Redis.from_url(self.url) as client:
            while not self.stopped.is_set():
                try:
                    self.seen.append(verify(client, KEYS, current_version(client, KEYS)).version)
                except Exception as failure:  # noqa: BLE001  whatever a user meets is a finding
                    self.failures.append(failure)


@contextmanager
def reading(url: str) -> Iterator[Reader]:
    reader = Reader(url)
    reader.start()
    yield reader
    reader.stopped.set()
    reader.join(timeout=30)
    assert not reader.is_alive(), "the user hangs"


def publish_day(lake: Path, client: redis.Redis, day: int) -> str:
    """Publish that day, waiting for a dead publisher's lease to run out."""
    as_of = AS_OF + day * DAY
    for _ in range(200):
        try:
            return publish(lake, as_of, client, KEYS, now=as_of, kept=KEPT, lease_ttl_s=LEASE_TTL_S).version
        except Unavailable:
            time.sleep(LEASE_TTL_S / 20)
    raise AssertionError("the dead publisher's lease never ran out")


def die_publishing(server: Server, lake: Path, day: int, step: str, times: int) -> None:
    arguments = [server.url, lake, (AS_OF + day * DAY).isoformat(), KEPT, LEASE_TTL_S, step, times]
    command = [sys.executable, "-m", "tests.batch.killed_publisher", *map(str, arguments)]
    finished = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60)
    assert finished.returncode == -signal.SIGKILL, f"it never got to {step}: {finished.stderr}"


def everything_that_should_exist(client: redis.Redis) -> set[bytes]:
    names = {KEYS.current(), KEYS.versions(), KEYS.sequence()}
    for version in published(client, KEYS):
        manifest = read_manifest(client, KEYS, version)
        names.add(KEYS.manifest(version))
        names.update(KEYS.blob(piece) for pieces in manifest.tables.values() for piece in pieces)
        names.update(KEYS.users(piece) for piece in manifest.users if piece)
    return {name.encode() for name in names}


@pytest.mark.parametrize(("step", "times"), MOMENTS, ids=[f"{step}-{times}" for step, times in MOMENTS])
def test_killed_after(step: str, times: int, lake: Path, redis_server: Server, redis_client: redis.Redis) -> None:
    publish_day(lake, redis_client, 0)
    before = publish_day(lake, redis_client, 1)

    with reading(redis_server.url) as reader:
        die_publishing(redis_server, lake, 2, step, times)
        after = current_version(redis_client, KEYS)
        assert (after != before) == (step in FLIPPED), f"killed after {step}, the pointer is on {after}"
        finally_current = publish_day(lake, redis_client, 3)
        wait_until(lambda: finally_current in reader.seen or reader.failures)

    assert not reader.failures, f"a user met {reader.failures[0]!r}"
    assert set(reader.seen) <= {before, after, finally_current}
    assert finally_current in reader.seen, "the user never saw the last snapshot; did it read at all?"
    assert published(redis_client, KEYS) == [finally_current, after], "not the latest two are kept"
    assert set(redis_client.keys("*")) == everything_that_should_exist(redis_client), "something was left behind"
