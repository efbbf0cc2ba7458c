"""How much a user likes each author."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from batch.affinity import affinities
from batch.point_in_time import RunContext, published


def user_author_affinity(valid_events: DataFrame, valid_stories: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per as_of, user and author with evidence either way."""
    stories = (
        published(valid_stories, context).where(F.col("author_id").isNotNull()).select("as_of", "story_id", "author_id")
    )
    return affinities(valid_events, stories, "author_id", context)
