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


FEATURES: tuple[Feature, ...] = (
    # Of the story: columns of story_features, stored in the snapshot's story table.
    Feature(
        "story_open_rate",
        "story",
        0.1,
        "opens per impression, decayed, smoothed towards the author's rate",
        "story_features",
    ),
    Feature(
        "story_read_rate", "story", 0.3, "reads per open, decayed, smoothed towards the author's rate", "story_features"
    ),
    Feature("story_popularity", "story", 0.0, "log1p of decayed reads", "story_features"),
    Feature("story_momentum", "story", 0.0, "log1p of reads in the last day", "story_features"),
    Feature("story_trend", "story", 0.0, "log1p of reads, halved every trending half-life", "story_features"),
    Feature("story_reads", "story", 0.0, "log1p of all reads so far", "story_features"),
    Feature("story_applause", "story", 0.0, "log1p of decayed claps", "story_features"),
    # Of the author, the publication, the topics, the language: one row each, gathered through the story's indices.
    Feature(
        "author_open_rate",
        "author",
        0.1,
        "opens per impression over the author's stories, decayed, smoothed",
        "author_features",
    ),
    Feature(
        "author_read_rate",
        "author",
        0.3,
        "reads per open over the author's stories, decayed, smoothed",
        "author_features",
    ),
    Feature("author_followers", "author", 0.0, "log1p of followers", "author_features"),
    Feature(
        "publication_open_rate",
        "publication",
        0.1,
        "opens per impression over the publication, decayed, smoothed",
        "publication_features",
    ),
    Feature(
        "publication_read_rate",
        "publication",
        0.3,
        "reads per open over the publication, decayed, smoothed",
        "publication_features",
    ),
    Feature(
        "topic_open_rate",
        "topic",
        0.1,
        "opens per impression over the topic, decayed, smoothed; mean over the story's topics",
        "topic_features",
    ),
    Feature(
        "topic_read_rate",
        "topic",
        0.3,
        "reads per open over the topic, decayed, smoothed; mean over the story's topics",
        "topic_features",
    ),
    Feature(
        "language_open_rate",
        "language",
        0.1,
        "opens per impression over the language, decayed, smoothed",
        "language_features",
    ),
    Feature(
        "language_read_rate",
        "language",
        0.3,
        "reads per open over the language, decayed, smoothed",
        "language_features",
    ),
    # Of a person and a story together: computed by the same functions in batch and online.
    Feature("author_affinity", "user_story", 0.0, "affinity of the person to the author, (-1, 1)", "formulas.gather"),
    Feature(
        "publication_affinity",
        "user_story",
        0.0,
        "affinity of the person to the publication, (-1, 1)",
        "formulas.gather",
    ),
    Feature(
        "topic_affinity", "user_story", 0.0, "affinity to the story's topics, mean, (-1, 1)", "formulas.gather_mean"
    ),
    Feature(
        "topic_engaged",
        "user_story",
        0.0,
        "decayed engagement of the person with the story's topics, mean; how much `topic_affinity` rests on",
        "formulas.gather_mean",
    ),
    Feature(
        "topic_shown",
        "user_story",
        0.0,
        "decayed impressions of the story's topics to the person, mean: what earlier rankings thought of them",
        "formulas.gather_mean",
    ),
    Feature(
        "reader_engaged",
        "user_story",
        0.0,
        "decayed engagement of the person, summed over topics: what `topic_engaged` is a part of",
        "formulas.exact_sum",
    ),
    Feature(
        "reader_shown",
        "user_story",
        0.0,
        "decayed impressions to the person, summed over topics: what `topic_shown` is a part of",
        "formulas.exact_sum",
    ),
    Feature("follows_author", "user_story", 0.0, "1 when the person follows the author", "formulas.gather"),
    Feature("follows_publication", "user_story", 0.0, "1 when the person follows the publication", "formulas.gather"),
    Feature(
        "follows_topics",
        "user_story",
        0.0,
        "share of the story's topics that the person follows",
        "formulas.gather_mean",
    ),
    Feature(
        "taste",
        "user_story",
        0.0,
        "dot product of the ALS vectors: people with a reading history like yours",
        "formulas.dot",
    ),
    Feature(
        "similarity", "user_story", 0.0, "greatest similarity to a story just read, [0, 1]", "formulas.scatter_max"
    ),
    Feature(
        "co_reading",
        "user_story",
        0.0,
        "sum of similarities to the stories just read: many weak signs, where `similarity` is the strongest",
        "formulas.scatter_sum",
    ),
    Feature(
        "reader_reads",
        "user_story",
        0.0,
        "log1p of different stories the person had read by the snapshot; tells how far the other signs can be trusted",
        "formulas.reader_reads",
    ),
    Feature(
        "read_gap_h",
        "user_story",
        8760.0,
        "hours between the story's publication and the nearest read that the snapshot knows of, a year at most: small when "
        "the reader was around as it came out",
        "formulas.read_gap_h",
    ),
    Feature(
        "times_seen",
        "user_story",
        0.0,
        "log1p of impressions of it by the person, before today's",
        "formulas.times_seen",
    ),
    Feature(
        "recency",
        "user_story",
        0.0,
        "0.5 ** (age / RECENCY_HALF_LIFE_H), (0, 1]; the default for a story without a date",
        "formulas.recency",
    ),
)

BY_NAME = {feature.name: feature for feature in FEATURES}


def registered(entity: Entity | str) -> tuple[Feature, ...]:
    """The features of one entity, in declared order."""
    return tuple(feature for feature in FEATURES if feature.entity == entity)
