"""What users did: checked, deduplicated, about stories the lake knows."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from batch.point_in_time import RunContext
from batch.validation import judged
from features.interactions import INTERACTIONS
from features.raw_datasets import EVENTS
from features.verdicts import UNKNOWN_STORY


def valid_events(events: DataFrame, valid_stories: DataFrame, *, context: RunContext) -> DataFrame:
    """Every known row, with `reason` where it is bad."""
    return with_defaults(once_story_is_known(judged(events, EVENTS, context), valid_stories))


def once_story_is_known(events: DataFrame, stories: DataFrame) -> DataFrame:
    """An event counts from when both it and its story are known; unknown until then, and at all when that never comes."""
    known = stories.groupBy("story_id").agg(F.min("valid_from").alias("_known_from"))
    reason = F.when(F.col("_known_from").isNull(), F.lit(UNKNOWN_STORY))
    return (
        events.join(known, "story_id", "left")
        .withColumn("reason", F.coalesce("reason", reason))
        .withColumn("valid_from", F.greatest("valid_from", "_known_from"))
        .drop("_known_from")
    )


def with_defaults(events: DataFrame) -> DataFrame:
    """A clap without a number is one clap."""
    amounts = {
        one.amount: F.when(F.col("type") == one.name, F.coalesce(one.amount, F.lit(1))).otherwise(F.col(one.amount))
        for one in INTERACTIONS
        if one.amount
    }
    return events.withColumns(amounts)
