"""Which provider would have brought a story: the nearest explanation of each impression."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.arrays import I32, Bools
from lake.simulator.edges import AUTHOR, FOLLOW, PUBLICATION, TOPIC, Edges
from lake.simulator.policy import Beliefs
from lake.simulator.world import Truth

SOURCES = ("followed_authors", "followed_publications", "followed_topics", "trending", "fresh_stories")
TRENDING_SHARE = 0.1
"""Best-liked share of stories that is called trending when no follow explains it."""


def sources(truth: Truth, beliefs: Beliefs, in_force: Edges, user: I32, story: I32) -> NDArray[np.int8]:
    """Index into SOURCES: the nearest explanation of each impression."""
    stories = truth.stories
    follows = in_force.at(in_force.kind == FOLLOW)
    trending = beliefs.popularity >= np.quantile(beliefs.popularity, 1 - TRENDING_SHARE)
    source = np.where(trending[story], 3, 4).astype(np.int8)
    for slot in range(3):
        source[_follows(follows, TOPIC, user, stories.topics[story, slot])] = 2
    source[_follows(follows, PUBLICATION, user, stories.publication[story])] = 1
    source[_follows(follows, AUTHOR, user, stories.author[story])] = 0
    return source


def _follows(follows: Edges, target_type: int, user: I32, target: NDArray[np.signedinteger]) -> Bools:
    chosen = follows.at(follows.target_type == target_type)
    keys = (chosen.user.astype(np.int64) << 32) + chosen.target
    return np.isin((user.astype(np.int64) << 32) + target, keys)
