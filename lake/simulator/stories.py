"""Stories: who wrote them, about what, how well, for whom, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.arrays import F32, F64, I32, I64, Bools
from features.times import DAY_US
from lake.simulator.config import WorldConfig
from lake.simulator.users import BACKLOG_DAYS, TASTE_DIMENSIONS, Authors, SimulatedUsers, times_of_day

TOPIC_SHARES = np.array(((1.0, 0.0, 0.0), (0.6, 0.4, 0.0), (0.5, 0.3, 0.2)), np.float32)
"""Weight of a story's topics, by how many it has."""
FOLLOWERS, UNLISTED = 1, 2  # 0: public
FOLLOWERS_SHARE, UNLISTED_SHARE, MEMBERS_SHARE = 0.03, 0.005, 0.25
WITHDRAWN_SHARE, EDITED_SHARE, COPY_SHARE = 0.01, 0.01, 0.02
COPY_REACH = 200
"""A near-duplicate copies one of the 200 stories before it: reposts follow soon."""
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Stories:
    """n stories by time of publication; all arrays by row of story."""

    published_us: I64
    author: I32
    """Row of author, not of user."""
    publication: I32
    """-1: none"""
    topics: NDArray[np.int16]
    """int16[n, 3], -1: fewer"""
    language: NDArray[np.int8]
    quality: F32
    """Standard normal."""
    character: F32
    """float32[dimensions, n]: what taste meets"""
    reading_time_s: F32
    visibility: NDArray[np.int8]
    members_only: Bools
    withdrawn_us: I64
    """NEVER: it was not"""
    edited_us: I64
    """NEVER: it was not"""
    copy_of: I32
    """Row of the original of a near-duplicate; -1: none"""

    def topic_shares(self) -> F32:
        """float32[n, 3]; 0 where there is no topic."""
        return TOPIC_SHARES[(self.topics >= 0).sum(axis=1) - 1]


def make_stories(config: WorldConfig, users: SimulatedUsers, authors: Authors) -> Stories:
    """All stories, sorted by publication."""
    rng, n = config.random("stories"), config.stories
    published = _published(config, rng)
    copy_of = _copies(rng, n)
    source = np.where(copy_of >= 0, copy_of, np.arange(n))
    written_by = rng.choice(len(authors.reach), n, p=_productivity(authors)).astype(np.int32)
    author = np.where((copy_of >= 0) & (rng.random(n) < 0.5), written_by[source], written_by)
    original = written_by[source]
    visibility = rng.choice(3, n, p=(1 - FOLLOWERS_SHARE - UNLISTED_SHARE, FOLLOWERS_SHARE, UNLISTED_SHARE))
    character = authors.style[:, written_by] + 0.4 * rng.normal(size=(TASTE_DIMENSIONS, n)) / np.sqrt(TASTE_DIMENSIONS)
    return Stories(
        published_us=published,
        author=author,
        publication=np.where(rng.random(n) < 0.7, authors.publication[author], -1).astype(np.int32),
        topics=_topics(rng, authors.topics[written_by])[source],
        language=users.home_language[authors.user[original]],
        quality=rng.normal(size=n).astype(np.float32)[source],
        character=character.astype(np.float32)[:, source],
        reading_time_s=np.clip(rng.lognormal(np.log(240), 0.5, n), 45, 1800).round().astype(np.float32)[source],
        visibility=visibility.astype(np.int8),
        members_only=rng.random(n) < MEMBERS_SHARE,
        withdrawn_us=_later(config, rng, published, WITHDRAWN_SHARE, 5.0),
        edited_us=_later(config, rng, published, EDITED_SHARE, 1.0),
        copy_of=copy_of,
    )


def _productivity(authors: Authors) -> F64:
    weights = np.minimum(authors.reach.astype(np.float64), 20.0) ** 0.7  # even the best known write only so much
    return np.asarray(weights / weights.sum())


def _published(config: WorldConfig, rng: np.random.Generator) -> I64:
    """Spread evenly over the days, so that every day has some, and by the rhythm of the day within each."""
    days = config.days + BACKLOG_DAYS
    day = np.arange(config.stories) * days // config.stories - BACKLOG_DAYS
    return np.sort(config.starts_us + day * DAY_US + times_of_day(rng, np.zeros(config.stories)))


def _copies(rng: np.random.Generator, n: int) -> I32:
    rows = np.arange(n)
    source = rows - rng.integers(1, COPY_REACH + 1, n)
    is_copy = (rng.random(n) < COPY_SHARE) & (source >= 0)
    is_copy &= ~is_copy[np.maximum(source, 0)]  # a copy of a copy would hang from no original
    return np.where(is_copy, source, -1).astype(np.int32)


def _topics(rng: np.random.Generator, of_author: NDArray[np.int16]) -> NDArray[np.int16]:
    """One to three of the author's topics, in random order."""
    order = np.argsort(rng.random(of_author.shape) * (1.0, 1.5, 2.0), axis=1)
    topics = np.take_along_axis(of_author, order, axis=1)
    count = rng.choice((1, 2, 3), len(topics), p=(0.35, 0.45, 0.2))
    return np.where(np.arange(3) < count[:, None], topics, -1).astype(np.int16)


def _later(config: WorldConfig, rng: np.random.Generator, published: I64, share: float, mean_days: float) -> I64:
    moment = published + (rng.exponential(mean_days, len(published)) * DAY_US).astype(np.int64) + 60_000_000
    return np.where((rng.random(len(published)) < share) & (moment < config.ends_us), moment, NEVER)
