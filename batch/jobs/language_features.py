"""How a language's stories have done."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from batch.point_in_time import RunContext, published
from batch.rates import global_rates, summed_by, with_counts, with_rates


def language_features(story_counters: DataFrame, valid_stories: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per as_of and language with a published story; stories without a language count for none."""
    stories = published(valid_stories, context).where(F.col("language").isNotNull())
    sums = summed_by(story_counters, stories.select("as_of", "story_id", "language"), "language")
    return with_rates(
        with_counts(sums), "language", global_rates(story_counters, context), context.settings.entity_strength
    )
