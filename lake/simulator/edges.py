"""Follows, mutes and blocks, and their undoing: a log over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.arrays import I32, I64, Bools
from features.times import DAY_US
from lake.simulator.config import WorldConfig
from lake.simulator.stories import NEVER
from lake.simulator.users import Authors, SimulatedUsers, popular_first
from lake.simulator.vocabulary import TOPICS

FOLLOW, MUTE, BLOCK = 0, 1, 2
AUTHOR, PUBLICATION, TOPIC = 0, 1, 2
BOND_SHARE = 0.8
"""Share of author follows that are meant: they last, and raise the true interest. The others are casual."""
USERS_AT_ONCE = 512
"""Bounds the matrix users × authors; part of no result."""


@dataclass(frozen=True, slots=True)
class Edges:
    """n edges, each added once and perhaps removed; sorted by (user, kind, target_type, target)."""

    user: I32
    kind: NDArray[np.int8]
    target_type: NDArray[np.int8]
    target: I32
    """Row of author, publication or topic."""
    added_us: I64
    removed_us: I64
    """NEVER: still in force"""
    is_bond: Bools

    def at(self, mask_or_rows: NDArray[Any]) -> Edges:
        """The chosen edges."""
        return Edges(*(getattr(self, name)[mask_or_rows] for name in self.__slots__))

    def in_force(self, moment_us: int) -> Edges:
        """The edges added before and not removed by `moment_us`."""
        return self.at((self.added_us < moment_us) & (self.removed_us >= moment_us))


def make_edges(config: WorldConfig, users: SimulatedUsers, authors: Authors) -> Edges:
    """All edges; a user has at most one kind towards one target."""
    rng = config.random("edges")
    parts = [
        (*_followed_authors(config, users, authors), FOLLOW, AUTHOR),
        (*_followed_publications(config, users, authors), FOLLOW, PUBLICATION),
        (*_followed_topics(rng, users), FOLLOW, TOPIC),
        (*_at_random(rng, users, 0.3, len(authors.reach)), MUTE, AUTHOR),
        (*_at_random(rng, users, 0.1, len(authors.publication_topics)), MUTE, PUBLICATION),
        (*_disliked_topics(rng, users, 0.15), MUTE, TOPIC),
        (*_at_random(rng, users, 0.1, len(authors.reach)), BLOCK, AUTHOR),
        (*_at_random(rng, users, 0.02, len(authors.publication_topics)), BLOCK, PUBLICATION),
    ]
    user = np.concatenate([part[0] for part in parts]).astype(np.int32)
    target = np.concatenate([part[1] for part in parts]).astype(np.int32)
    kind = np.repeat([part[2] for part in parts], [len(part[0]) for part in parts]).astype(np.int8)
    target_type = np.repeat([part[3] for part in parts], [len(part[0]) for part in parts]).astype(np.int8)
    own = (target_type == AUTHOR) & (authors.user[np.where(target_type == AUTHOR, target, 0)] == user)
    return _in_time(config, rng, users, _one_a_target(user[~own], kind[~own], target_type[~own], target[~own]))


Pairs = tuple[I64, I64]


def _followed_authors(config: WorldConfig, users: SimulatedUsers, authors: Authors) -> Pairs:
    """Gumbel top-k: well-known authors and those who write what the user likes, in a language they read."""
    who, whom = [], []
    language = users.home_language[authors.user]
    for start in range(0, config.users, USERS_AT_ONCE):
        rows = np.arange(start, min(start + USERS_AT_ONCE, config.users))
        rng = config.random("followed_authors", start)
        match = users.topic_interest[rows][:, authors.topics].mean(axis=2)
        likeness = np.sum(users.taste[:, rows, None] * authors.style[:, None, :], axis=0)
        score = np.log(authors.reach) + 5.0 * match + 1.5 * likeness + rng.gumbel(size=match.shape)
        score[~users.reads_language[rows][:, language]] = -np.inf
        k = np.minimum(rng.geometric(1 / 7, len(rows)), max(1, len(authors.reach) // 4))
        best = np.argpartition(-score, min(k.max(), score.shape[1] - 1), axis=1)[:, : k.max()]
        best = np.take_along_axis(best, np.argsort(-np.take_along_axis(score, best, 1), axis=1), 1)
        chosen = (np.arange(best.shape[1]) < k[:, None]) & np.isfinite(np.take_along_axis(score, best, 1))
        who.append(rows[np.nonzero(chosen)[0]])
        whom.append(best[chosen])
    return np.concatenate(who), np.concatenate(whom)


def _followed_publications(config: WorldConfig, users: SimulatedUsers, authors: Authors) -> Pairs:
    rng = config.random("followed_publications")
    match = users.topic_interest[:, authors.publication_topics].mean(axis=2)
    known = np.log(popular_first(match.shape[1]))
    best = np.argsort(-(known + 4.0 * match + rng.gumbel(size=match.shape)), axis=1)[:, :4]
    chosen = np.arange(best.shape[1]) < rng.integers(0, 5, (len(match), 1))
    return np.nonzero(chosen)[0], best[chosen]


def _followed_topics(rng: np.random.Generator, users: SimulatedUsers) -> Pairs:
    """Most of what a user loves, and now and then something they do not."""
    chosen = rng.random(users.topic_interest.shape) < np.where(users.topic_interest > 0.25, 0.7, 0.01)
    who, whom = np.nonzero(chosen)
    return who, whom


def _at_random(rng: np.random.Generator, users: SimulatedUsers, mean: float, targets: int) -> Pairs:
    count = rng.poisson(mean, len(users.activity))
    return np.repeat(np.arange(len(count)), count), rng.integers(0, targets, count.sum())


def _disliked_topics(rng: np.random.Generator, users: SimulatedUsers, mean: float) -> Pairs:
    who, whom = _at_random(rng, users, mean, len(TOPICS))
    disliked = users.topic_interest[who, whom] < 0.1
    return who[disliked], whom[disliked]


def _one_a_target(*columns: NDArray[Any]) -> tuple[I64, ...]:
    """Sorted by (user, target_type, target), of several kinds the first: whoever follows does not mute as well."""
    user, kind, target_type, target = (column.astype(np.int64) for column in columns)
    order = np.lexsort((kind, target, target_type, user))
    grain = np.stack((user, target_type, target))[:, order]
    first = np.append(True, (grain[:, 1:] != grain[:, :-1]).any(axis=0))
    rows = order[first]
    return user[rows], kind[rows], target_type[rows], target[rows]


def _in_time(config: WorldConfig, rng: np.random.Generator, users: SimulatedUsers, columns: tuple[I64, ...]) -> Edges:
    """Two in three edges of older accounts are older than the interval; casual follows and a few mutes are undone."""
    user, kind, target_type, target = columns
    n = len(user)
    created = users.created_us[user]
    old = (created < config.starts_us - DAY_US) & (rng.random(n) < 2 / 3)
    start = np.where(old, created, np.maximum(created, config.starts_us))
    end = np.where(old, config.starts_us, config.ends_us)
    added = start + ((end - start) * rng.random(n)).astype(np.int64)
    is_bond = (kind == FOLLOW) & (target_type == AUTHOR) & (rng.random(n) < BOND_SHARE)
    undone = rng.random(n) < np.where(is_bond, 0.0, np.where(kind == BLOCK, 0.05, 0.3))
    since = np.maximum(added, config.starts_us)
    removed = since + ((config.ends_us - since) * rng.random(n)).astype(np.int64) + 1
    removed = np.where(undone & (removed < config.ends_us), removed, NEVER)
    narrow = (user.astype(np.int32), kind.astype(np.int8), target_type.astype(np.int8), target.astype(np.int32))
    return Edges(*narrow, added, removed, is_bond)
