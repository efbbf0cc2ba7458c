"""The logging policy: which stories a session shows, with exact propensities.

Each user and day has one weight a story, fixed for the day:
    weight = (1 - EXPLORE) · p / Σp + EXPLORE · [p > 0] / |{p > 0}|,
p = exp(what the policy believes), 0 for a story that may not be shown. A session draws without replacement, by these
weights, from the stories published before it; so the j-th story has propensity
    weight / (Σ weights published before the session − Σ weights of the entries above).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.arrays import F32, I32
from features.times import DAY_US
from lake.simulator.config import LANGUAGES
from lake.simulator.edges import AUTHOR, FOLLOW, PUBLICATION, TOPIC, Edges
from lake.simulator.stories import FOLLOWERS, UNLISTED
from lake.simulator.vocabulary import TOPICS
from lake.simulator.world import AUTHOR_WEIGHT, QUALITY_WEIGHT, TASTE_WEIGHT, TOPIC_WEIGHT, Truth

LIVE_DAYS = 10
"""Older stories are not shown."""
EXPLORE = 0.1
"""Share of draws that are uniform over all eligible stories."""
TOPIC_BELIEF, TASTE_BELIEF = 0.7, 0.5
"""How much of the true dependence the policy has found out, besides its noise."""
FOLLOW_BONUS = np.float32(np.exp(1.2))
PUBLICATION_BONUS = np.float32(np.exp(0.6))
FRESH_DAYS = 3.0
"""Freshness falls by e in three days."""
NEVER_SHOWN = -1e4
"""A logit whose exponential is exactly 0 in float32, also after adding everything else and a fifth share of a topic."""


@dataclass(frozen=True, slots=True)
class Beliefs:
    """What the policy believes; logit = user vector · story column."""

    story: F32
    """float32[d, stories]"""
    popularity: F32
    """float32[stories]: how good the policy believes a story to be for everybody"""
    author_slot: I32
    """int32[stories]: author's row, or beyond all authors for stories that only followers may see"""


def make_beliefs(truth: Truth) -> Beliefs:
    """Story side of the policy."""
    stories, n = truth.stories, len(truth.stories.author)
    topics = np.zeros((len(TOPICS) + 1, n), np.float32)
    for slot in range(3):
        topics[stories.topics[:, slot], np.arange(n)] += stories.topic_shares()[:, slot]
    noise = truth.config.random("beliefs").normal(size=n).astype(np.float32)
    quality = QUALITY_WEIGHT * stories.quality + AUTHOR_WEIGHT * truth.authors.quality[stories.author]
    popularity = (0.9 * quality + 0.5 * noise).astype(np.float32)
    fresh = (stories.published_us - truth.config.starts_us) / (FRESH_DAYS * DAY_US)
    base = popularity + fresh + np.where(stories.visibility == UNLISTED, NEVER_SHOWN, 0.0)
    language = np.arange(len(LANGUAGES))[:, None] == stories.language
    ones = np.ones((1, n))
    columns = np.vstack((topics[:-1], stories.character, language, stories.members_only[None], ones, base[None]))
    authors = len(truth.authors.reach)
    slot_of = np.where(stories.visibility == FOLLOWERS, authors + stories.author, stories.author)
    return Beliefs(columns.astype(np.float32), popularity, slot_of.astype(np.int32))


def user_vectors(truth: Truth, who: I32, day_end_us: int, edges: Edges) -> F32:
    """float32[len(who), d]; `edges` are those in force of these users."""
    users = truth.users
    topic = TOPIC_BELIEF * TOPIC_WEIGHT * users.topic_interest[who]
    muted = edges.at((edges.kind != FOLLOW) & (edges.target_type == TOPIC))
    topic[np.searchsorted(who, muted.user), muted.target] = NEVER_SHOWN
    taste = TASTE_BELIEF * TASTE_WEIGHT * users.taste[:, who].T
    language = np.where(users.reads_language[who], 0.0, NEVER_SHOWN)
    members = np.where(users.is_member[who], 0.0, NEVER_SHOWN)[:, None]
    stale = -(day_end_us - truth.config.starts_us) / (FRESH_DAYS * DAY_US)
    ones = np.ones((len(who), 1))
    return np.hstack((topic, taste, language, members, stale * ones, ones)).astype(np.float32)


def author_factors(truth: Truth, who: I32, edges: Edges) -> F32:
    """float32[len(who), 2 · authors]: bonus for the followed, 0 for own, muted, blocked and others' followers-only."""
    authors = len(truth.authors.reach)
    factors = np.ones((len(who), 2 * authors), np.float32)
    factors[:, authors:] = 0
    chosen = edges.at(edges.target_type == AUTHOR)
    value = np.where(chosen.kind == FOLLOW, FOLLOW_BONUS, np.float32(0))
    row = np.searchsorted(who, chosen.user)
    factors[row, chosen.target] = value
    factors[row, authors + chosen.target] = value
    is_author = np.isin(truth.authors.user, who)
    row, author = np.searchsorted(who, truth.authors.user[is_author]), np.nonzero(is_author)[0]
    factors[row, author] = factors[row, authors + author] = 0
    return factors


def publication_factors(truth: Truth, who: I32, edges: Edges) -> F32:
    """float32[len(who), publications + 1]; the last is for stories outside any publication (-1)."""
    factors = np.ones((len(who), len(truth.authors.publication_topics) + 1), np.float32)
    chosen = edges.at(edges.target_type == PUBLICATION)
    value = np.where(chosen.kind == FOLLOW, PUBLICATION_BONUS, np.float32(0))
    factors[np.searchsorted(who, chosen.user), chosen.target] = value
    return factors


def live_rows(truth: Truth, day_start_us: int) -> tuple[int, int]:
    """Rows of stories that a day may show: those published in the LIVE_DAYS before it and on it."""
    published = truth.stories.published_us
    first = day_start_us - LIVE_DAYS * DAY_US
    return int(np.searchsorted(published, first)), int(np.searchsorted(published, day_start_us + DAY_US))


def day_weights(
    truth: Truth, beliefs: Beliefs, who: I32, day_start_us: int, edges: Edges, gone: tuple[I32, I32]
) -> F32:
    """The day's weights of some users (sorted rows): float32[len(who), live stories]; rows sum to 1 or 0.

    `edges`: those in force at the day's start of these users. `gone`: (user rows, story rows) of what they had read,
    hidden or reported before. Stories withdrawn before the day's end have weight 0 for all of it.
    """
    low, high = live_rows(truth, day_start_us)
    day_end = day_start_us + DAY_US
    weights = user_vectors(truth, who, day_end, edges) @ beliefs.story[:, low:high]
    np.exp(weights, out=weights)
    weights *= author_factors(truth, who, edges)[:, beliefs.author_slot[low:high]]
    weights *= publication_factors(truth, who, edges)[:, truth.stories.publication[low:high]]
    weights[:, truth.stories.withdrawn_us[low:high] < day_end] = 0
    recent = gone[1] >= low
    weights[np.searchsorted(who, gone[0][recent]), gone[1][recent] - low] = 0
    eligible = weights > 0
    share = (1 - EXPLORE) / np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    weights *= share
    weights += eligible * np.float32(EXPLORE) / np.maximum(eligible.sum(axis=1, keepdims=True), 1).astype(np.float32)
    return np.asarray(weights)
