"""What is remembered of what a user was shown is bounded, in bytes."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import redis
from prometheus_client import CollectorRegistry, Counter

from features.keys import Keys
from online.feed.served_log import ServedLog, ServedPage
from online.service_settings import OnlineSettings
from online.user.served_history import decode_history
from tests.fixtures_redis import redis_client, redis_server

__all__ = ["redis_client", "redis_server"]

SLATE_BYTES, STORY_BYTES = 12, 8
LARGEST_PAGE = 100
"""The greatest `limit` of a feed request."""
OVERHEAD = 1.25
"""What Redis' sorted set adds to its members at most, as measured; pages of the largest size have the least."""


def page(number: int, rng: np.random.Generator) -> ServedPage:
    nothing = np.zeros(LARGEST_PAGE, np.float32)
    return ServedPage(
        request_id=f"r{number}",
        user_id="u",
        slate=f"{number:024x}",
        snapshot="v",
        model="m",
        served_us=1_769_000_000_000_000 + number * 1_000_000,
        first_position=0,
        story_ids=[""] * LARGEST_PAGE,
        stories=rng.integers(-(2**62), 2**62, LARGEST_PAGE),
        sources=["trending"] * LARGEST_PAGE,
        promoted=np.zeros(LARGEST_PAGE, bool),
        scores=nothing,
        propensities=nothing.astype(np.float64),
        features=None,
    )


def test_a_users_history_stays_within_pages_times_a_page(redis_client: redis.Redis) -> None:
    settings, keys = OnlineSettings(), Keys("bound:")
    log = ServedLog(redis_client, keys, settings, Counter("lost", "", registry=CollectorRegistry()))
    rng = np.random.default_rng(0)
    sizes = []
    for number in range(3 * settings.served.history_pages):
        log.note(page(number, rng))
        if number + 1 in (settings.served.history_pages, 3 * settings.served.history_pages):
            log.flush()
            sizes.append(redis_client.memory_usage(keys.served_history("u"), samples=0))
    bound = settings.served.history_pages * (SLATE_BYTES + STORY_BYTES * LARGEST_PAGE)
    assert bound == 81_200  # what the documentation states
    assert bound < sizes[0] < OVERHEAD * bound
    assert sizes[1] == pytest.approx(sizes[0], rel=0.02)  # three times as many pages take no more
    raw = cast("list[tuple[bytes, float]]", redis_client.zrange(keys.served_history("u"), 0, -1, withscores=True))
    assert len(decode_history(raw).stories) == settings.served.history_pages * LARGEST_PAGE
