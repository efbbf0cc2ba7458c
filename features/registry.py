"""Every model feature, declared once.

Batch jobs write the columns named here, `features.snapshot` stores them, `features.formulas` computes the
user×story ones, rankers weigh them, the docs list them. A feature that is not here does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Entity = Literal["story", "author", "publication", "topic", "language", "user_story"]


@dataclass(frozen=True, slots=True)
class Feature:
    """One float32 model input. `default` stands where nothing is known (unknown story, no publication, newcomer)."""

    name: str
    entity: Entity
    default: float
    meaning: str
    source: str
    """Derived dataset that holds it, or the function in `features.formulas` that computes it."""


def _columns(entity: Entity, *features: tuple[str, float, str]) -> tuple[Feature, ...]:
    """(name, default, meaning) of the features that the batch writes of an entity."""
    return tuple(Feature(name, entity, default, meaning, f"{entity}_features") for name, default, meaning in features)


def _computed(name: str, function: str, meaning: str, default: float = 0.0) -> Feature:
    """A feature of a user and a story, which an annotator computes with a function of `features.formulas`."""
    return Feature(name, "user_story", default, meaning, f"formulas.{function}")


FEATURES: tuple[Feature, ...] = (
    # Stored in the snapshot's story table.
    *_columns(
        "story",
        ("story_open_rate", 0.1, "opens per impression, decayed, smoothed towards the author's rate"),
        ("story_read_rate", 0.3, "reads per open, decayed, smoothed towards the author's rate"),
        ("story_popularity", 0.0, "log1p of decayed reads"),
        ("story_momentum", 0.0, "log1p of reads in the last day"),
        ("story_trend", 0.0, "log1p of reads, halved every trending half-life"),
        ("story_reads", 0.0, "log1p of all reads so far"),
        ("story_claps", 0.0, "log1p of decayed claps"),
    ),
    # One row each, gathered through the story's indices.
    *_columns(
        "author",
        ("author_open_rate", 0.1, "opens per impression over the author's stories, decayed, smoothed"),
        ("author_read_rate", 0.3, "reads per open over the author's stories, decayed, smoothed"),
        ("author_followers", 0.0, "log1p of followers"),
    ),
    *_columns(
        "publication",
        ("publication_open_rate", 0.1, "opens per impression over the publication, decayed, smoothed"),
        ("publication_read_rate", 0.3, "reads per open over the publication, decayed, smoothed"),
    ),
    *_columns(
        "topic",
        (
            "topic_open_rate",
            0.1,
            "opens per impression over the topic, decayed, smoothed; mean over the story's topics",
        ),
        ("topic_read_rate", 0.3, "reads per open over the topic, decayed, smoothed; mean over the story's topics"),
    ),
    *_columns(
        "language",
        ("language_open_rate", 0.1, "opens per impression over the language, decayed, smoothed"),
        ("language_read_rate", 0.3, "reads per open over the language, decayed, smoothed"),
    ),
    _computed("author_affinity", "gather", "affinity of the user to the author, (-1, 1)"),
    _computed("publication_affinity", "gather", "affinity of the user to the publication, (-1, 1)"),
    _computed("topic_affinity", "gather_mean", "affinity to the story's topics, mean, (-1, 1)"),
    _computed(
        "topic_engagement",
        "gather_mean",
        "decayed engagement of the user with the story's topics, mean; how much `topic_affinity` rests on",
    ),
    _computed(
        "topic_impressions",
        "gather_mean",
        "decayed impressions of the story's topics to the user, mean: what earlier rankings thought of them",
    ),
    _computed(
        "user_engagement",
        "exact_sum",
        "decayed engagement of the user, summed over topics: what `topic_engagement` is a part of",
    ),
    _computed(
        "user_impressions",
        "exact_sum",
        "decayed impressions to the user, summed over topics: what `topic_impressions` is a part of",
    ),
    _computed("follows_author", "gather", "1 when the user follows the author"),
    _computed("follows_publication", "gather", "1 when the user follows the publication"),
    _computed("follows_topics", "gather_mean", "share of the story's topics that the user follows"),
    _computed(
        "als_score", "dot", "dot product of the ALS vectors: whether users with a similar reading history read it"
    ),
    _computed("similarity", "scatter_max", "greatest similarity to a story just read, [0, 1]"),
    _computed(
        "co_reading",
        "scatter_sum",
        "sum of similarities to the stories just read: many weak signs, where `similarity` is the strongest",
    ),
    _computed(
        "user_reads",
        "user_reads",
        "log1p of different stories the user had read by the snapshot; shows how far the other signs can be trusted",
    ),
    _computed(
        "read_gap_h",
        "read_gap_h",
        "hours between the story's publication and the nearest read that the snapshot knows of, a year at most: small when "
        "the user was around as it came out",
        8760.0,
    ),
    _computed("unopened_impressions", "unopened_impressions", "log1p of impressions of it by the user, before today's"),
    _computed(
        "recency", "recency", "0.5 ** (age / RECENCY_HALF_LIFE_H), (0, 1]; the default for a story without a date"
    ),
)

BY_NAME = {feature.name: feature for feature in FEATURES}


def registered(entity: Entity | str) -> tuple[Feature, ...]:
    """The features of one entity, in declared order."""
    return tuple(feature for feature in FEATURES if feature.entity == entity)
