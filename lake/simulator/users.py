"""Users, the authors among them, and publications: who they are, what they like, and at what hours they read and write."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.arrays import F32, F64, I32, I64, Bools
from features.times import DAY_US
from lake.simulator.config import LANGUAGES, WorldConfig
from lake.simulator.vocabulary import TOPICS

TASTE_DIMENSIONS = 8
"""Finer taste than topics: tone, depth, length … Eight are enough to make neighbours differ and few enough to be learned."""
LOVED_TOPICS = (1.0, 0.85, 0.7, 0.5, 0.3)
"""How much a user likes their first, second … topic; all others get INDIFFERENCE."""
INDIFFERENCE = 0.05
HOME_LANGUAGE_SHARES = (0.74, 0.11, 0.06, 0.05, 0.04)
BACKLOG_DAYS = 2
"""Days of stories before the first session, which would else find next to nothing."""
HOURS_FROM_UTC = (-5, -4, -3, 1, 1)
"""Where most speakers of each language live, so that the daily rhythm differs between users."""
HOURLY = np.array((2, 1, 1, 1, 1, 2, 5, 8, 9, 7, 6, 6, 8, 7, 6, 5, 5, 6, 7, 9, 10, 10, 7, 4), np.float64)
"""Relative activity by local hour: a morning and an evening peak and a deep night, as in most consumer logs."""
US_PER_HOUR = 3_600_000_000


@dataclass(frozen=True, slots=True)
class SimulatedUsers:
    """n users; all arrays by row of user."""

    created_us: I64
    home_language: NDArray[np.int8]
    reads_language: Bools
    """bool[n, languages]"""
    is_member: Bools
    activity: F32
    """Relative number of sessions."""
    topic_interest: F32
    """float32[n, topics] in [0, 1]"""
    taste: F32
    """float32[dimensions, n], about unit length a user"""


@dataclass(frozen=True, slots=True)
class Authors:
    """m authors and their publications; all arrays by row of author."""

    user: I32
    quality: F32
    """Standard normal."""
    reach: F32
    """How well known: power law, decides follows and productivity."""
    topics: NDArray[np.int16]
    """int16[m, 3]: what they write about"""
    style: F32
    """float32[dimensions, m]"""
    publication: I32
    """-1: none"""
    publication_topics: NDArray[np.int16]
    """int16[publications, 3]"""


def make_users(config: WorldConfig) -> SimulatedUsers:
    """One row a user; the last ones joined last."""
    rng, n = config.random("people"), config.users
    home = rng.choice(len(LANGUAGES), n, p=HOME_LANGUAGE_SHARES).astype(np.int8)
    reads = rng.random((n, len(LANGUAGES))) < 0.03
    reads[:, 0] |= rng.random(n) < 0.85  # most of those whose home language is not English read it
    reads[np.arange(n), home] = True
    return SimulatedUsers(
        created_us=_created(config, rng),
        home_language=home,
        reads_language=reads,
        is_member=rng.random(n) < 0.3,
        activity=rng.lognormal(0.0, 0.8, n).astype(np.float32),
        topic_interest=_topic_interest(rng, n),
        taste=_taste(rng, n),
    )


def _created(config: WorldConfig, rng: np.random.Generator) -> I64:
    """Four in five joined in the two years before the first story, the others later, at least two on the last day."""
    n = config.users
    ages = np.where(
        rng.random(n) < 0.8,
        rng.uniform(config.days + BACKLOG_DAYS, config.days + 730, n),
        rng.uniform(0, config.days, n),
    )
    ages[-max(2, n // (10 * config.days)) :] *= 0.9 / np.maximum(ages[-max(2, n // (10 * config.days)) :], 0.9)
    return np.sort(config.ends_us - (ages * DAY_US).astype(np.int64))


def popular_first(size: int) -> F64:
    """Zipf-like shares by rank, flattened by an offset of 3 so that the last still occurs."""
    weights = 1.0 / (np.arange(size) + 3.0)
    return np.asarray(weights / weights.sum())


def pick_topics(rng: np.random.Generator, n: int, count: int) -> NDArray[np.int16]:
    """int16[n, count] distinct topics a row, popular ones more often (Gumbel top-k)."""
    scores = np.log(popular_first(len(TOPICS))) + rng.gumbel(size=(n, len(TOPICS)))
    return np.argsort(-scores, axis=1)[:, :count].astype(np.int16)


def _topic_interest(rng: np.random.Generator, n: int) -> F32:
    interest = np.full((n, len(TOPICS)), INDIFFERENCE, np.float32)
    loved = pick_topics(rng, n, len(LOVED_TOPICS))
    strength = np.minimum(1.0, np.array(LOVED_TOPICS) * rng.uniform(0.8, 1.2, loved.shape))
    np.put_along_axis(interest, loved.astype(np.int64), strength.astype(np.float32), axis=1)
    return interest


def _taste(rng: np.random.Generator, n: int) -> F32:
    """Users cluster around twelve tastes, which is what lets one learn from another."""
    centres = rng.normal(size=(TASTE_DIMENSIONS, 12))
    taste = centres[:, rng.integers(0, 12, n)] + 0.5 * rng.normal(size=(TASTE_DIMENSIONS, n))
    return np.asarray(taste / np.linalg.norm(taste, axis=0), np.float32)


def make_authors(config: WorldConfig, users: SimulatedUsers) -> Authors:
    """One in ten users writes, about what they like themselves; one publication for every hundred users."""
    rng = config.random("authors")
    m, publications = max(5, config.users // 10), max(5, config.users // 100)
    old = int(np.searchsorted(users.created_us, config.starts_us - BACKLOG_DAYS * DAY_US))
    user = np.sort(rng.choice(old, m, replace=False)).astype(np.int32)  # nobody publishes before they join
    topics = np.argsort(-users.topic_interest[user], axis=1, kind="stable")[:, :3].astype(np.int16)
    publication_topics = pick_topics(rng, publications, 3)
    return Authors(
        user=user,
        quality=rng.normal(size=m).astype(np.float32),
        reach=(rng.pareto(1.2, m) + 1).astype(np.float32),
        topics=topics,
        style=users.taste[:, user],
        publication=_join_publications(rng, topics, publication_topics),
        publication_topics=publication_topics,
    )


def _join_publications(rng: np.random.Generator, topics: NDArray[np.int16], offered: NDArray[np.int16]) -> I32:
    """Two in three authors join the publication that shares most of their topics; ties by chance."""
    shared = (topics[:, :, None, None] == offered[None, None]).sum(axis=(1, 3))
    best = np.argmax(shared + 0.5 * rng.random(shared.shape), axis=1)
    return np.where(rng.random(len(topics)) < 2 / 3, best, -1).astype(np.int32)


def times_of_day(rng: np.random.Generator, hours_from_utc: F64) -> I64:
    """Microseconds after UTC midnight, one for each given offset of local time: int64[n] in [0, 24 h)."""
    local = rng.choice(24, len(hours_from_utc), p=HOURLY / HOURLY.sum())
    hour = (local - hours_from_utc) % 24
    return np.asarray(((hour + rng.random(len(hour))) * US_PER_HOUR).astype(np.int64))
