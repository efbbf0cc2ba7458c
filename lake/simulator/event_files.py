"""One day's events of everybody as a raw table: ids, times of arrival, repeats."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from features.arrays import I64
from features.interactions import EVENT_TYPES
from features.schema import TS
from lake.simulator.behaviour import EventColumns
from lake.simulator.config import US_PER_DAY, WorldConfig
from lake.simulator.files import Codes, named, numbered, story_ids, user_ids
from lake.simulator.sources import SOURCES

LATE_SHARE, REPEATED_SHARE = 0.02, 0.005
"""Share of events that arrive hours or days late, and of those sent twice."""
LATE_MEAN_H = 14.0


def event_table_maker(config: WorldConfig) -> Callable[[int, EventColumns], pa.Table]:
    """A function (UTC day number, events of that day) → raw `events`, by time, with late and repeated ones."""
    users, stories = user_ids(config.users), story_ids(config.stories)

    def make(day: int, events: EventColumns) -> pa.Table:
        rng = config.random("arrival", day)
        order = np.argsort(events["occurred_us"], kind="stable")
        of = {name: values[order] for name, values in events.items()}
        n = len(order)
        table = pa.table(
            {
                "event_id": numbered(f"e{day - config.starts_us // US_PER_DAY}-", np.arange(n)),
                "user_id": users.take(pa.array(of["user"])),
                "story_id": stories.take(pa.array(of["story"])),
                "type": named(EVENT_TYPES, of["type"]),
                "occurred_at": pa.array(of["occurred_us"], TS),
                "received_at": pa.array(_received(config, rng, of["occurred_us"]), TS),
                "dwell_s": pa.array(of["dwell_s"], mask=np.isnan(of["dwell_s"])),
                "claps": pa.array(of["claps"], mask=of["claps"] == 0),
                "request_id": numbered("r", of["request"]),
                "position": of["position"],
                "source": named(SOURCES, of["source"]),
                "propensity": pa.array(of["propensity"], mask=np.isnan(of["propensity"])),
            }
        )
        repeats = np.nonzero(rng.random(n) < REPEATED_SHARE)[0]
        return table.take(pa.array(np.sort(np.append(np.arange(n), repeats))))

    return make


def _received(config: WorldConfig, rng: np.random.Generator, occurred_us: Codes) -> I64:
    """A second or two later; some hours or days later, unless that would be after the interval."""
    n = len(occurred_us)
    usual = occurred_us + (rng.gamma(2.0, 0.4e6, n)).astype(np.int64)
    late = occurred_us + ((1 + rng.exponential(LATE_MEAN_H, n)) * 3.6e9).astype(np.int64)
    is_late = (rng.random(n) < LATE_SHARE) & (late < config.ends_us)
    return np.asarray(np.minimum(np.where(is_late, late, usual), config.ends_us - 1))
