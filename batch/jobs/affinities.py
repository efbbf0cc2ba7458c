"""How much more (or less) a user does with an author's, a publication's or a topic's stories than users do in general.

affinity = (P - E) / (|P| + E + kappa), in (-1, 1), with
P  decayed engagement of the user with the stories of that author (publication, topic); see `features.interactions`,
E  engagement to be expected: the user's decayed impressions of them, times the mean engagement an impression
   yields over all users and stories; 0 in a lake without impressions,
kappa  the engagement at which P alone says 1/2.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from batch.point_in_time import (
    DAY_S,
    RunContext,
    age_s,
    as_of_rows,
    decayed,
    unfixed,
    visible,
    with_each_topic,
    with_one,
)
from features.interactions import INTERACTIONS

SUPPORT = ("engagement", "weight", "impressions")
"""What an affinity rests on."""


def user_author_affinity(valid_events: DataFrame, valid_stories: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per as_of, user and author with support either way."""
    return affinities(valid_events, with_one(valid_stories, "author_id", context), "author_id", context)


def user_publication_affinity(valid_events: DataFrame, valid_stories: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per as_of, user and publication with support either way."""
    return affinities(valid_events, with_one(valid_stories, "publication_id", context), "publication_id", context)


def user_topic_affinity(valid_events: DataFrame, valid_stories: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per as_of, user and topic with support either way."""
    return affinities(valid_events, with_each_topic(valid_stories, context), "topic_id", context)


def affinities(events: DataFrame, stories: DataFrame, key: str, context: RunContext) -> DataFrame:
    """as_of, user_id, `key`, affinity and SUPPORT; `stories`: as_of, story_id, `key` (a row for each it has).

    What rounds to nothing (|affinity| below `affinity_floor`) is left out: absent means 0, also of the support.
    """
    weighed = with_support(events, context)
    of_key = (
        weighed.join(stories, ["as_of", "story_id"], "inner")
        .groupBy("as_of", "user_id", key)
        .agg(*(F.sum(name).alias(name) for name in SUPPORT))
    )
    settings = context.settings
    engagement, expected = unfixed(F.col("engagement")), unfixed(F.col("impressions")) * F.col("yield")
    affinity = (engagement - expected) / (F.abs(engagement) + expected + F.lit(settings.affinity_strength))
    scored = of_key.join(F.broadcast(impression_yield(weighed, context)), "as_of", "inner").withColumn(
        "affinity", affinity
    )
    kept = scored.where(F.abs("affinity") >= settings.affinity_floor)
    return kept.withColumns({name: unfixed(F.col(name)) for name in SUPPORT})


def with_support(events: DataFrame, context: RunContext) -> DataFrame:
    """Per event, in fixed point: `engagement` (signed), `weight` (its size) and `impressions` (1 for an impression), all decayed."""
    shown = F.col("type") == "impression"
    amount = F.when(shown, F.lit(1.0)).otherwise(strength())
    fixed = decayed(amount, age_s(), context.settings.affinity_half_life_d * DAY_S)
    weighed = visible(events, context).select(
        "as_of", "user_id", "story_id", shown.alias("is_impression"), fixed.alias("fixed")
    )
    return weighed.select(
        "as_of",
        "user_id",
        "story_id",
        F.when(F.col("is_impression"), F.lit(0)).otherwise(F.col("fixed")).alias("engagement"),
        F.when(F.col("is_impression"), F.lit(0)).otherwise(F.abs("fixed")).alias("weight"),
        F.when(F.col("is_impression"), F.col("fixed")).otherwise(F.lit(0)).alias("impressions"),
    )


def strength() -> Column:
    """Strength of an event by its `type`; 0 for what has none."""
    chain = F.lit(0.0)
    for one in INTERACTIONS:
        if one.strength:
            chain = F.when(F.col("type") == one.name, F.lit(one.strength)).otherwise(chain)
    return chain


def impression_yield(weighed: DataFrame, context: RunContext) -> DataFrame:
    """as_of, yield: mean engagement per impression, at least 0; 0 where nothing was shown."""
    sums = weighed.groupBy("as_of").agg(*(F.sum(name).alias(name) for name in ("engagement", "impressions")))
    positive = F.greatest(F.col("engagement") / F.col("impressions"), F.lit(0.0))
    mean = F.when(F.col("impressions") > 0, positive).otherwise(F.lit(0.0))
    every = as_of_rows(weighed.sparkSession, context.as_ofs).join(sums, "as_of", "left")
    return every.select("as_of", mean.alias("yield"))
