"""What was done with each story: window counts and decayed sums, all integers."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from batch.point_in_time import DAY_S, RunContext, age_s, decayed, visible
from features.derived_datasets import COUNTED, WINDOWS_D
from features.interactions import COUNTERS


def story_counters(valid_events: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per as_of and story with events."""
    counted = valid_events.where(F.col("type").isin(*(one.name for one in COUNTERS.values())))
    weighed = with_weights(visible(counted, context), context)
    return weighed.groupBy("as_of", "story_id").agg(*window_sums(), *decayed_sums(), ever())


def with_weights(events: DataFrame, context: RunContext) -> DataFrame:
    """`amount` (claps count as often as given, all else once), its age, and both decays."""
    settings = context.settings
    amount = F.lit(1)
    for one in COUNTERS.values():
        if one.amount:
            amount = F.when(F.col("type") == one.name, F.col(one.amount)).otherwise(amount)
    return events.select(
        "as_of", "story_id", "type", amount.cast("bigint").alias("amount"), age_s().alias("age_s")
    ).withColumns(
        {
            "fixed": decayed(F.col("amount"), F.col("age_s"), settings.story_half_life_d * DAY_S),
            "hot": decayed(F.col("amount"), F.col("age_s"), settings.trending_half_life_h * 3600.0),
        }
    )


def window_sums() -> list[Column]:
    """`<what>_<d>d`: amounts of events at most d days old; null where no event has a date."""
    return [
        _sum(what, "amount", F.col("age_s") < d * DAY_S).alias(f"{what}_{d}d") for what in COUNTED for d in WINDOWS_D
    ]


def decayed_sums() -> list[Column]:
    """`fixed_<what>` and, for what trends, `hot_<what>`."""
    fixed = [_sum(what, "fixed").alias(f"fixed_{what}") for what in COUNTED]
    return [*fixed, *(_sum(what, "hot").alias(f"hot_{what}") for what in ("opens", "reads"))]


def ever() -> Column:
    """`reads_ever`: how well known a story is, however long ago that was."""
    return _sum("reads", "amount").alias("reads_ever")


def _sum(what: str, column: str, condition: Column | None = None) -> Column:
    """`condition`: of the age; events without one are skipped, because a null stays null and a sum of nulls is null."""
    counts = F.when(F.col("type") == COUNTERS[what].name, F.col(column)).otherwise(F.lit(0))
    return F.sum(counts if condition is None else F.when(condition, counts).when(~condition, F.lit(0)))
