"""Accounts: checked, deduplicated, one row a version with the interval in which it is the latest."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from batch.changes import until_next_change
from batch.languages import known
from batch.point_in_time import RunContext
from batch.validation import judged
from features.raw_datasets import USERS


def valid_users(users: DataFrame, *, context: RunContext) -> DataFrame:
    """Every known row, with `reason` where it is bad."""
    return with_defaults(until_next_change(judged(users, USERS, context), ("user_id",), "updated_at"))


def with_defaults(users: DataFrame) -> DataFrame:
    """Languages sorted, none: any; not a member. Bad rows go to quarantine as they came."""
    tags = F.coalesce(F.col("languages"), F.array().cast("array<string>"))
    return users.withColumn("languages", F.when(F.col("reason").isNull(), known(tags)).otherwise(tags)).withColumn(
        "is_member", F.coalesce(F.col("is_member"), F.lit(False))
    )
