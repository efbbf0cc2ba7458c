"""What users do with the stories they are shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.arrays import F32, F64, I32, I64, Bools
from features.interactions import EVENT_TYPES
from lake.simulator.world import Truth

EventColumns = dict[str, NDArray[Any]]
"""Events as equally long arrays: user, story, type, occurred_us, request, position, source, propensity, dwell_s, claps."""
CODE = {name: code for code, name in enumerate(EVENT_TYPES)}
SECOND = 1_000_000
POSITION_DECAY = 0.6
"""P(looks at position j) = (1 + j) ** -0.6: position bias as a power law, the usual form (Joachims et al., 2017)."""
SCROLL_S = 3.0
"""Seconds between the impressions of neighbouring positions."""
MAX_CLAPS = 50
"""Most claps one event carries; Medium's limit a user and story."""
CLAPS_MEDIAN, CLAPS_USER_SIGMA, CLAPS_STORY_SIGMA = 7.0, 0.9, 0.2
"""Claps of one event are lognormal around the story's own level, which is lognormal too; most of a story's tail comes
from how many users clap. Medium's stories have median 78, p90 329, p99 1,237 claps: p90/median 4.2, p99/median 16. A
simulated story has fewer readers, so the world keeps these ratios and not the numbers: the default world has 5 and 17."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Impressions; all arrays of one length."""

    user: I32
    story: I32
    position: I32
    request: I64
    started_us: I64
    """When the session began."""
    source: NDArray[np.int8]
    propensity: F64


def respond(truth: Truth, rng: np.random.Generator, shown: Shown) -> EventColumns:
    """The impressions and everything that follows from them, unsorted."""
    interest = truth.interest(shown.user, shown.story).astype(np.float64)
    chance = rng.random((8, len(interest)))
    seen_us = shown.started_us + ((1 + shown.position * SCROLL_S + chance[0]) * SECOND).astype(np.int64)
    looked = chance[1] < (1.0 + shown.position) ** -POSITION_DECAY
    opened = looked & (chance[2] < interest)
    read = opened & (chance[3] < 0.3 + 0.6 * interest)
    clapped = read & (chance[4] < 0.08 + 0.4 * interest)
    saved = opened & (chance[5] < 0.02 + 0.08 * interest)
    shared = read & (chance[6] < 0.01 + 0.05 * interest)
    hidden = looked & ~opened & (chance[7] < 0.02 * (1 - interest) ** 2)
    reported = looked & ~opened & (chance[7] > 0.9992)
    dwell_s = _dwell(truth, rng, shown, interest)
    open_us = seen_us + (rng.uniform(0.5, 4.0, len(seen_us)) * SECOND).astype(np.int64)
    done_us = open_us + (dwell_s * SECOND).astype(np.int64)
    claps = _claps(truth, rng, shown)
    parts = [
        _events(shown, "impression", np.ones(len(seen_us), bool), seen_us, propensity=shown.propensity),
        _events(shown, "open", opened, open_us),
        _events(shown, "read", read, done_us, dwell_s=dwell_s),
        _events(shown, "clap", clapped, done_us + SECOND, claps=claps),
        _events(shown, "save", saved, open_us + 5 * SECOND),
        _events(shown, "share", shared, done_us + 20 * SECOND),
        _events(shown, "hide", hidden, seen_us + 2 * SECOND),
        _events(shown, "report", reported, seen_us + 3 * SECOND),
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _dwell(truth: Truth, rng: np.random.Generator, shown: Shown, interest: F64) -> F32:
    """Seconds spent on a read: longer the more it interests, at least ten."""
    usual = truth.stories.reading_time_s[shown.story] * (0.5 + 0.7 * interest)
    return np.maximum(usual * rng.lognormal(0.0, 0.35, len(usual)), 10.0).astype(np.float32)


def _claps(truth: Truth, rng: np.random.Generator, shown: Shown) -> I32:
    level = truth.config.random("claps").normal(np.log(CLAPS_MEDIAN), CLAPS_STORY_SIGMA, truth.config.stories)
    claps = np.exp(level[shown.story] + CLAPS_USER_SIGMA * rng.normal(size=len(shown.story)))
    return np.clip(np.rint(claps), 1, MAX_CLAPS).astype(np.int32)


def _events(
    shown: Shown,
    kind: str,
    happened: Bools,
    occurred_us: I64,
    *,
    propensity: F64 | None = None,
    dwell_s: F32 | None = None,
    claps: I32 | None = None,
) -> EventColumns:
    n = int(happened.sum())
    return {
        "user": shown.user[happened],
        "story": shown.story[happened],
        "type": np.full(n, CODE[kind], np.int8),
        "occurred_us": occurred_us[happened],
        "request": shown.request[happened],
        "position": shown.position[happened],
        "source": shown.source[happened],
        "propensity": np.full(n, np.nan) if propensity is None else propensity[happened],
        "dwell_s": np.full(n, np.nan, np.float32) if dwell_s is None else dwell_s[happened],
        "claps": np.zeros(n, np.int32) if claps is None else claps[happened],
    }
