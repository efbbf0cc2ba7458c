"""How much a user likes each topic."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from batch.affinity import affinities
from batch.point_in_time import RunContext, published


def user_topic_affinity(valid_events: DataFrame, valid_stories: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per as_of, user and topic with evidence either way."""
    stories = published(valid_stories, context).select("as_of", "story_id", F.explode("topics").alias("topic_id"))
    return affinities(valid_events, stories, "topic_id", context)
