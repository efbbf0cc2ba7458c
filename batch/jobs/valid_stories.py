"""Stories: checked, deduplicated, one row a version with the interval in which it is the latest."""

from __future__ import annotations

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import arrow_udf
from pyspark.sql.types import LongType

from batch.changes import until_next_change
from batch.languages import known
from batch.point_in_time import RunContext
from batch.validation import judged
from features.near_duplicates import duplicate_keys
from features.raw_datasets import STORIES


def valid_stories(stories: DataFrame, *, context: RunContext) -> DataFrame:
    """Every known row, with `reason` where it is bad."""
    return with_keys(with_defaults(until_next_change(judged(stories, STORIES, context), ("story_id",), "updated_at")))


def with_defaults(stories: DataFrame) -> DataFrame:
    """What the raw lake may leave out (see `features.raw_datasets.STORIES`), and of language tags the language.

    Bad rows go to quarantine as they came.
    """
    good = F.col("reason").isNull()
    return stories.withColumns(
        {
            "language": F.when(good, F.get(known(F.array("language")), F.lit(0))).otherwise(F.col("language")),
            "topics": F.array_distinct(F.coalesce(F.col("topics"), F.array().cast("array<string>"))),
            "visibility": F.coalesce(F.col("visibility"), F.lit("public")),
            "members_only": F.coalesce(F.col("members_only"), F.lit(False)),
        }
    )


def with_keys(stories: DataFrame) -> DataFrame:
    """The hash of the id, and a key that near-duplicates share."""
    story_hash = F.xxhash64("story_id")
    return stories.withColumn("story_hash", story_hash).withColumn(
        "duplicate_key", _duplicate_key(F.col("title"), F.col("story_hash"))
    )


@arrow_udf(LongType())  # type: ignore[call-overload, untyped-decorator]
def _duplicate_key(titles: pa.Array, story_hashes: pa.Array) -> pa.Array:
    return pa.array(duplicate_keys(titles, story_hashes.to_numpy()))
