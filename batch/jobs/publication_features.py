"""How a publication's stories have done."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from batch.point_in_time import RunContext, published
from batch.rates import global_rates, summed_by, with_counts, with_rates


def publication_features(story_counters: DataFrame, valid_stories: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per as_of and publication with a published story."""
    stories = published(valid_stories, context).where(F.col("publication_id").isNotNull())
    sums = summed_by(story_counters, stories.select("as_of", "story_id", "publication_id"), "publication_id")
    return with_rates(
        with_counts(sums), "publication", global_rates(story_counters, context), context.settings.entity_strength
    )
