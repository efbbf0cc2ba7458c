"""How an author's stories have done, and how many follow the author."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from batch.point_in_time import RunContext, in_force, published
from batch.rates import global_rates, summed_by, with_counts, with_rates


def author_features(
    story_counters: DataFrame, valid_stories: DataFrame, valid_edges: DataFrame, *, context: RunContext
) -> DataFrame:
    """One row per as_of and author of a published story or with a follower."""
    by_author = (
        published(valid_stories, context).where(F.col("author_id").isNotNull()).select("as_of", "story_id", "author_id")
    )
    sums = summed_by(story_counters, by_author, "author_id")
    rates = global_rates(story_counters, context)
    authors = sums.join(followers(valid_edges, context), ["as_of", "author_id"], "full")
    rated = with_rates(with_counts(authors), "author", rates, context.settings.entity_strength)
    return rated.withColumn("followers", F.coalesce("followers", F.lit(0))).withColumn(
        "author_followers", F.log1p("followers")
    )


def followers(edges: DataFrame, context: RunContext) -> DataFrame:
    """as_of, author_id, followers."""
    follows = in_force(edges, context, "follow", "author").withColumnRenamed("target_id", "author_id")
    return follows.groupBy("as_of", "author_id").agg(F.count("*").alias("followers"))
