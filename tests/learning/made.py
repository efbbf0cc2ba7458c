"""Training sets made by a seed: users open what is recent and of topics they like, and rarely hide."""

from __future__ import annotations

from zlib import crc32

import numpy as np
import pyarrow as pa

from features.times import DAY_US
from learning.examples import FEATURE_NAMES, SCHEMA
from online.rankers.models.model import POSITION

START_US = 1_700_000_000_000_000


def examples_table(
    requests: int = 600, shown: int = 10, days: int = 14, seed: int = 3, signal: float = 1.0
) -> pa.Table:
    """`requests` · `shown` rows, spread evenly over `days`; `signal` 0: nothing can be learned but position."""
    rng = np.random.default_rng(seed)
    n = requests * shown
    request = np.repeat(np.arange(requests), shown)
    # Each feature from a generator of its own, so that a newly registered one changes no other draw.
    of = {name: np.random.default_rng([seed, crc32(name.encode())]) for name in FEATURE_NAMES}
    features = {name: of[name].normal(size=n).astype(np.float32) for name in FEATURE_NAMES}
    features["follows_author"] = (of["follows_author"].random(n) < 0.2).astype(np.float32)
    features["recency"] = of["recency"].random(n, np.float32)
    position = np.tile(np.arange(shown, dtype=np.float32), requests)
    # An interaction and a bend, which named weights cannot express, beside what they can.
    liking = features["topic_affinity"] * (features["recency"] > 0.5) * 2 + np.abs(features["als_score"]) - 1
    open_ = rng.random(n) < _sigmoid(signal * liking - 1.0 - 0.1 * position)
    read = open_ & (rng.random(n) < _sigmoid(signal * features["story_read_rate"]))
    positive_feedback = read & (rng.random(n) < 0.3)
    negative_feedback = ~open_ & (rng.random(n) < _sigmoid(-3.0 - signal * 2 * features["author_affinity"]))
    order = rng.permutation(n)  # the contract promises no order
    return pa.table(
        {
            "user_id": [f"u{i % 50}" for i in request],
            "story_id": [f"s{i:07}" for i in rng.integers(0, n, n)],
            "request_id": [f"r{i:06}" for i in request],
            "shown_at": pa.array(START_US + request * (days * DAY_US // requests), pa.timestamp("us", tz="UTC")),
            "author_id": [f"a{i}" for i in rng.integers(0, 40, n)],
            POSITION: position,
            **features,
            "open": open_,
            "read": read,
            "positive_feedback": positive_feedback,
            "negative_feedback": negative_feedback,
        },
        schema=SCHEMA,
    ).take(order)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
