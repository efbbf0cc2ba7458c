"""Implicit ALS: what users with a similar reading history read.

Hu, Koren, Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008, as in Spark's ALS. One fit per
as_of, from sorted rows in partitions by hash (ranges would be sampled) and fixed blocks, because the order of sums decides a
vector's last bits.
"""

from __future__ import annotations

import functools
from dataclasses import replace

from pyspark.ml.recommendation import ALS
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from batch.jobs.affinities import strength
from batch.point_in_time import FIXED_ONE, RunContext, moment, unfixed, visible
from batch.settings import BatchSettings
from features.interactions import LIKING

SEED = 1
"""Of the first factors. Any will do; it is fixed so that two fits are equal."""


def als_vectors(valid_events: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per as_of and user or story with enough events; none at all in a lake with too few."""
    fits = []
    for as_of in context.as_ofs:
        one = replace(context, as_ofs=(as_of,))
        fits.append(
            fitted(enough(strengths(valid_events, one), context.settings), context.settings).withColumn(
                "as_of", moment(as_of)
            )
        )
    return functools.reduce(DataFrame.unionByName, fits)


def strengths(events: DataFrame, context: RunContext) -> DataFrame:
    """user_id, story_id, strength: log2(1 + sum of what the user did). Interests last, so nothing decays here."""
    done = visible(events.where(F.col("type").isin(*LIKING)), context)
    fixed = F.round(strength() * F.lit(float(FIXED_ONE))).cast("bigint")
    total = done.groupBy("user_id", "story_id").agg(F.sum(fixed).alias("total"))
    return total.select("user_id", "story_id", F.log2(unfixed(F.col("total")) + F.lit(1.0)).alias("strength"))


def enough(pairs: DataFrame, settings: BatchSettings) -> DataFrame:
    """Pairs of users and stories that both have enough to learn from."""
    stories = pairs.groupBy("story_id").agg(F.count("*").alias("n")).where(F.col("n") >= settings.als_min_users)
    of_stories = pairs.join(stories.select("story_id"), "story_id", "left_semi")
    users = of_stories.groupBy("user_id").agg(F.count("*").alias("n")).where(F.col("n") >= settings.als_min_stories)
    return of_stories.join(users.select("user_id"), "user_id", "left_semi")


def fitted(pairs: DataFrame, settings: BatchSettings) -> DataFrame:
    """entity, id, vector."""
    pairs = pairs.persist()
    users, stories = numbered(pairs, "user_id", "user"), numbered(pairs, "story_id", "story")
    if users.isEmpty():
        return pairs.sparkSession.createDataFrame([], "entity string, id string, vector array<float>")
    rated = pairs.join(users, "user_id", "inner").join(stories, "story_id", "inner").select("user", "story", "strength")
    ordered = rated.repartition(settings.als_blocks, "user").sortWithinPartitions("user", "story").persist()
    model = _als(settings).fit(ordered)
    return _named(model.userFactors, users, "user").unionByName(_named(model.itemFactors, stories, "story"))


def numbered(rows: DataFrame, key: str, name: str) -> DataFrame:
    """`key`, `name` (int): each distinct id's place, from 0, in the order of ids, where text would be slow or is not accepted.

    Persisted, since its plan sorts.
    """
    ids = rows.select(key).distinct().orderBy(key).zipWithIndex(name)
    return ids.select(key, F.col(name).cast("int").alias(name)).persist()


def _als(settings: BatchSettings) -> ALS:
    return ALS(
        rank=settings.als_rank,
        maxIter=settings.als_iterations,
        regParam=settings.als_regularisation,
        alpha=settings.als_alpha,
        implicitPrefs=True,
        numUserBlocks=settings.als_blocks,
        numItemBlocks=settings.als_blocks,
        userCol="user",
        itemCol="story",
        ratingCol="strength",
        seed=SEED,
        checkpointInterval=-1,
    )


def _named(factors: DataFrame, ids: DataFrame, entity: str) -> DataFrame:
    named = factors.join(ids, factors["id"] == ids[entity], "inner")
    return named.select(
        F.lit(entity).alias("entity"), ids[f"{entity}_id"].alias("id"), F.col("features").alias("vector")
    )
