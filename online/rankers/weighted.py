"""A ranker with named weights: the score is their sum over the features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from features.arrays import F32
from online.rankers.protocol import Degrade, refused


@dataclass(frozen=True, slots=True)
class Weight:
    """How much one unit of a feature is worth, and why."""

    feature: str
    value: float
    why: str


WEIGHTS: tuple[Weight, ...] = (
    Weight("topic_affinity", 2.0, "what a user reads about is the steadiest sign of interest"),
    Weight("author_affinity", 1.5, "users come back to writers"),
    Weight("publication_affinity", 0.5, "weaker than the author: publications are broad"),
    Weight("als_score", 1.5, "what users with the same reading history liked"),
    Weight("similarity", 0.5, "more of what was just read, but not only that"),
    Weight("follows_author", 0.7, "a follow is a promise to show"),
    Weight("follows_publication", 0.3, "a broader promise"),
    Weight("follows_topics", 0.5, "stated interest; half of what behaviour says"),
    Weight("story_open_rate", 2.0, "its title makes users open it; rates are small numbers"),
    Weight("story_read_rate", 1.0, "and those who opened it read on"),
    Weight("author_open_rate", 1.0, "stands in while the story itself is unknown"),
    Weight("story_popularity", 0.1, "a logarithm of up to ten; popularity is a tie-breaker, not the point"),
    Weight("recency", 0.5, "of two equal stories the newer one"),
    Weight("unopened_impressions", -0.5, "what was shown without being opened sinks"),
)


class Weighted:
    """score = Σ weight · feature, in the order of the weights, in float32."""

    def __init__(self, weights: tuple[Weight, ...] = WEIGHTS, name: str = "weighted-1") -> None:
        self.name = name
        self.weights = weights
        self.inputs = tuple(weight.feature for weight in weights)

    def score(self, columns: Mapping[str, F32], n: int, degrade: Degrade = refused) -> F32:
        """float32[n]."""
        total = np.zeros(n, np.float32)
        product = np.empty(n, np.float32)
        for weight in self.weights:
            np.multiply(columns[weight.feature], np.float32(weight.value), out=product)
            total += product
        return total

    def contributions(self, columns: Mapping[str, F32], n: int) -> Mapping[str, F32]:
        """float32[n] for each input: weight · feature."""
        return {weight.feature: columns[weight.feature] * np.float32(weight.value) for weight in self.weights}
