"""Stories: checked, deduplicated, one row a version with the interval in which it is the latest."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from batch.changes import until_next_change
from batch.point_in_time import Context
from batch.validation import judged
from features.raw_datasets import STORIES

NOT_A_WORD = r"[^\p{L}\p{N}]+"
"""What separates words, in any script."""


def valid_stories(stories: DataFrame, *, context: Context) -> DataFrame:
    """Every known row, with `reason` where it is bad."""
    return with_keys(with_defaults(until_next_change(judged(stories, STORIES, context), ("story_id",), "updated_at")))


def with_defaults(stories: DataFrame) -> DataFrame:
    """What the raw lake may leave out (see `features.raw_datasets.STORIES`)."""
    return stories.withColumns(
        {
            "topics": F.array_distinct(F.coalesce(F.col("topics"), F.array().cast("array<string>"))),
            "visibility": F.coalesce(F.col("visibility"), F.lit("public")),
            "members_only": F.coalesce(F.col("members_only"), F.lit(False)),
        }
    )


def with_keys(stories: DataFrame) -> DataFrame:
    """The hash of the id, and a key that near-duplicates share."""
    story_hash = F.xxhash64("story_id")
    return stories.withColumn("story_hash", story_hash).withColumn(
        "duplicate_key", F.coalesce(_title_key(), story_hash)
    )


def _title_key() -> Column:
    """Hash of the title's words in lower case, sorted; null without a word."""
    words = F.sort_array(F.array_remove(F.split(F.lower(F.col("title")), NOT_A_WORD), ""))
    return F.when(F.size(words) > 0, F.xxhash64(F.array_join(words, " ")))
