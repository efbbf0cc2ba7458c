"""The simulator's logging policy, replayed from its truth: what it could have shown at every logged slot.

Only a simulated world can do this; it gives the true value of a target policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np

from evaluation.off_policy import Impressions
from features.times import DAY_US
from lake.simulator.behaviour import POSITION_DECAY
from lake.simulator.policy import day_weights, live_rows, make_beliefs
from lake.simulator.world import Truth, read_truth

FRESH_US = 2 * DAY_US
BOOST = 3.0
"""The target policy draws stories of the last two days three times as often, relative to others, as the logging policy."""


@dataclass(frozen=True)
class Replay:
    """Per slot, float64[n]."""

    propensity: np.ndarray
    """as the truth says it was"""
    target: np.ndarray
    """π of the logged story"""
    fresh: np.ndarray
    """bool: the logged story is fresh"""
    target_fresh: np.ndarray
    """π(any fresh story | slot)"""
    position: np.ndarray
    value: np.ndarray
    """Σ π(a | slot) · P(open | slot, a)"""


def replay(lake: Path, slots: Impressions) -> Replay:
    """Every slot of a lake of one chunk of users."""
    truth = read_truth(lake / "world")
    user = np.array([int(u[1:]) for u in slots.user_id], np.int32)
    story = np.array([int(s[1:]) for s in slots.story_id], np.int32)
    request = np.array([int(r[1:]) for r in slots.request_id], np.int64)
    day = (request >> 24) & 1023
    ended = _ended(lake)
    beliefs = make_beliefs(truth)
    parts = [np.empty(len(story)) for _ in range(5)]
    for number in np.unique(day):
        at = np.flatnonzero(day == number)
        gone = ended[2] < number
        weights, low = _weights(truth, beliefs, int(number), (ended[0][gone], ended[1][gone]))
        for part, values in zip(parts, _day(truth, weights, low, slots, user, story, request, at), strict=True):
            part[at] = values
    return Replay(parts[0], parts[1], parts[2].astype(bool), parts[3], slots.position, parts[4])


def _ended(lake: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """user, story and day of what was read, hidden or reported; the policy does not show it again from the next day on."""
    rows = duckdb.sql(
        f"SELECT DISTINCT user_id[2:]::INT, story_id[2:]::INT, (request_id[2:]::BIGINT >> 24) & 1023 "
        f"FROM '{lake}/raw/events/*/*.parquet' WHERE type IN ('read', 'hide', 'report')"
    ).fetchall()
    columns = np.array(rows, np.int64).reshape(-1, 3).T
    return columns[0].astype(np.int32), columns[1].astype(np.int32), columns[2]


def _weights(truth: Truth, beliefs, day: int, gone):  # type: ignore[no-untyped-def]
    start = truth.config.starts_us + day * DAY_US
    users = np.arange(truth.config.users, dtype=np.int32)
    weights = day_weights(truth, beliefs, users, start, truth.edges.in_force(start), gone)
    return weights.astype(np.float64), live_rows(truth, start)[0]


def _day(truth, weights, low, slots, user, story, request, at):  # type: ignore[no-untyped-def]
    """propensity, target, fresh, target_fresh and value of the slots `at`, request by request."""
    out = np.empty((5, len(at)))
    starts = np.flatnonzero(np.concatenate(([True], request[at][1:] != request[at][:-1])))
    for begin, end in zip(starts, np.append(starts[1:], len(at)), strict=True):
        mine = at[begin:end]
        # The first impression is logged one to two seconds after the session began; positions follow every three.
        began = int(slots.at_us[mine[0]]) - 1_500_000 - int(slots.position[mine[0]]) * 3_000_000
        who, listed = int(user[mine[0]]), story[mine] - low
        width = np.searchsorted(truth.stories.published_us, began) - low
        row = weights[who, :width].copy()
        fresh = truth.stories.published_us[low : low + width] > began - FRESH_US
        interest = truth.interest(np.full(width, who), np.arange(low, low + width)).astype(np.float64)
        for slot, (index, entry) in enumerate(zip(mine, listed, strict=True)):
            tilted = row * np.where(fresh, BOOST, 1.0)
            looks = (1.0 + slots.position[index]) ** -POSITION_DECAY
            out[:, begin + slot] = (
                row[entry] / row.sum(),
                tilted[entry] / tilted.sum(),
                fresh[entry],
                tilted[fresh].sum() / tilted.sum(),
                looks * (tilted @ interest) / tilted.sum(),
            )
            row[entry] = 0
    return out
