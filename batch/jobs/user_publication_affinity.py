"""How much a user likes each publication."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from batch.affinity import affinities
from batch.point_in_time import RunContext, published


def user_publication_affinity(valid_events: DataFrame, valid_stories: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per as_of, user and publication with evidence either way."""
    stories = (
        published(valid_stories, context)
        .where(F.col("publication_id").isNotNull())
        .select("as_of", "story_id", "publication_id")
    )
    return affinities(valid_events, stories, "publication_id", context)
