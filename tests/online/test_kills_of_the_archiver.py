"""An archiver killed at any moment: every acknowledged event reaches the lake, and the repeats are exact ones."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pytest
import redis

from features.streams import START, stream_order
from online.streams.archiver import Step, archive, read_positions
from rex.local.redis_server import Server
from tests.online.archive_lake import KEYS, accept, archived, entries, event, rows, stream_of

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
USERS = [f"u{number}" for number in range(6)]
"""Several, so that there are several streams."""
EVENTS = [event(f"e{number}", USERS[number % len(USERS)]) for number in range(60)]
ALL = sorted(one["event_id"] for one in EVENTS)


def start_archiver(server: Server, lake: Path, fatal: str, times: int, manner: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.online.killed_archiver", server.url, str(lake), fatal, str(times), manner]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def die_archiving(server: Server, lake: Path, fatal: str, times: int, manner: str = "durable") -> None:
    process = start_archiver(server, lake, fatal, times, manner)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, f"it never got to {fatal}: {complaint}"


def recover(client: redis.Redis, lake: Path) -> None:
    """What the next archiver does, once the dead one's lease has run out."""
    client.delete(KEYS.archive_lease())
    archive(client, KEYS, lake)


def missing(lake: Path) -> list[str]:
    return sorted(set(ALL) - set(archived(lake)))


MOMENTS = [(step, 1) for step in get_args(Step)] + [("file", 3)]
"""Every step of the first stream, and the middle of the work."""


@pytest.mark.parametrize(("step", "times"), MOMENTS, ids=[f"{step}-{times}" for step, times in MOMENTS])
def test_killed_after(step: str, times: int, redis_server: Server, redis_client: redis.Redis, tmp_path: Path) -> None:
    accept(redis_client, *EVENTS)
    die_archiving(redis_server, tmp_path, step, times)
    claimed = read_positions(tmp_path)
    there = set(archived(tmp_path))
    for user in USERS:  # what the positions claim at this moment is true
        for entry_id, document in entries(redis_client, stream_of(user)):
            if stream_order(entry_id) <= stream_order(claimed.get(stream_of(user), START)):
                assert document["event_id"] in there, f"the positions claim {entry_id}, which is not in the lake"
    recover(redis_client, tmp_path)
    assert missing(tmp_path) == []
    assert len(set(rows(tmp_path))) == len(ALL), "an event is in the lake twice with different contents"


def test_killed_at_random_moments_while_events_come_in(
    redis_server: Server, redis_client: redis.Redis, tmp_path: Path
) -> None:
    rng = random.Random(4)
    waiting = list(EVENTS)
    while waiting:
        process = start_archiver(redis_server, tmp_path, "never", 0, "durable")
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        redis_client.delete(KEYS.archive_lease())
        for _ in range(rng.randint(5, 20)):
            if waiting:
                accept(redis_client, waiting.pop())
                time.sleep(rng.uniform(0, 0.01))
        process.kill()
        process.communicate(timeout=60)
    recover(redis_client, tmp_path)
    assert missing(tmp_path) == []
    assert len(set(rows(tmp_path))) == len(ALL)


def test_acknowledging_before_the_file_is_durable_loses_events(
    redis_server: Server, redis_client: redis.Redis, tmp_path: Path
) -> None:
    """The guard switched off: what test_killed_after shows does not hold then."""
    accept(redis_client, *EVENTS)
    die_archiving(redis_server, tmp_path, "acknowledge", 1, "hasty")
    recover(redis_client, tmp_path)
    assert missing(tmp_path), "nothing was lost; does the order of file and acknowledgement matter at all?"
