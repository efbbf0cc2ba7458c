"""How a topic's stories have done."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from batch.point_in_time import RunContext, published
from batch.rates import global_rates, summed_by, with_counts, with_rates


def topic_features(story_counters: DataFrame, valid_stories: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per as_of and topic with a published story; a story counts for each of its topics."""
    by_topic = published(valid_stories, context).select("as_of", "story_id", F.explode("topics").alias("topic_id"))
    sums = summed_by(story_counters, by_topic, "topic_id")
    return with_rates(
        with_counts(sums), "topic", global_rates(story_counters, context), context.settings.entity_strength
    )
