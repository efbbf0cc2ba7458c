"""The whole loop on a simulated world: raw lake → Spark → Parquet → Redis → feeds, measured by the world's true interest."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import redis
from pyspark.sql import SparkSession

from batch.publish import publish
from batch.run import run
from batch.settings import BatchSettings
from benchmarks.relevance import measure
from features.keys import Keys
from features.settings import Settings
from features.times import micros
from lake.simulator.config import WorldConfig
from lake.simulator.run import simulate
from online.feed.preparing import FeedRequest
from online.service_settings import OnlineSettings
from online.wiring import AppState
from rex.cli.in_process import loaded
from rex.local.redis_server import Server
from tests.fixtures_redis import redis_client, redis_server
from tests.lakes import ANY_NAME

__all__ = ["redis_client", "redis_server"]

END = datetime(2026, 1, 31, tzinfo=UTC)
USERS = 600
JUDGED = 200
GAP_CLOSED = 0.2
"""Of the way from the better simple feed (followed newest first, popularity) to a perfect one."""


@pytest.fixture(
    params=[1, *(pytest.param(seed, marks=pytest.mark.nightly(part="batch")) for seed in (2, 3))],
    ids=lambda seed: f"seed{seed}",
)
def loop(
    request: pytest.FixtureRequest, spark: SparkSession, redis_server: Server, redis_client: redis.Redis, tmp_path: Path
) -> Iterator[tuple[AppState, Path]]:
    """A simulated world, served; and its lake."""
    lake = tmp_path / ANY_NAME
    simulate(WorldConfig(users=USERS, stories=3000, events=150_000, days=30, seed=request.param, ends_at=END), lake)
    run(lake, [END], now=END, settings=BatchSettings(), spark=spark)
    settings = Settings(var=tmp_path, lake=lake, redis_url=redis_server.url)
    publish(lake, END, redis_client, Keys(settings.redis_prefix), now=END, kept=3)
    with loaded(settings, OnlineSettings(as_if=END)) as rex:
        yield rex, lake


def test_feeds_close_a_fifth_of_the_gap_to_perfect_ones_and_are_equal_bit_for_bit_when_made_again(
    loop: tuple[AppState, Path],
) -> None:
    rex, lake = loop
    users = [f"u{user:06d}" for user in np.random.default_rng(0).permutation(USERS)]
    found = measure(rex, lake, users, JUDGED, micros(END))
    assert found.users == JUDGED
    print(f"{found}, gap closed: {found.gap_closed:.3f}")
    assert found.gap_closed >= GAP_CLOSED
    for user_id in users[:20]:
        request = FeedRequest(user_id, fresh=True)
        assert rex.feeds.feed(request, micros(END)) == rex.feeds.feed(request, micros(END))
