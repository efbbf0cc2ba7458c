"""Promotions: checked, deduplicated, each visible until it has ended."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from batch.point_in_time import RunContext
from batch.validation import judged
from features.raw_datasets import PROMOTIONS


def valid_promotions(promotions: DataFrame, *, context: RunContext) -> DataFrame:
    """Every row, with `reason` where it is bad. Scheduled ones count: they may start before the next snapshot."""
    return judged(promotions, PROMOTIONS, context).withColumn("valid_until", F.col("ends_at"))
