"""What an example may know: the one place that keeps the future out of the training set.

An example is something that was shown at a moment. `before` is the first moment whose news it may not use; every other
step asks `before`, never the time of the impression, for what was known.
"""

from __future__ import annotations

from datetime import timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from batch.point_in_time import RunContext, moment
from batch.schedule import EPOCH, schedule_of
from batch.settings import BatchSettings

US_PER_HOUR = 3_600_000_000


def knows_before(shown_at: Column) -> Column:
    """The future filter: nothing that became known at the moment of the impression, or after it, counts, except the story shown."""
    return shown_at


def features_as_of(before: Column, settings: BatchSettings) -> Column:
    """The latest moment of the schedule that a server could have had published by then."""
    lag_us, step_us = settings.training_lag_min * 60_000_000, settings.training_schedule_h * US_PER_HOUR
    number = F.floor((F.unix_micros(before) - F.lit(lag_us)) / F.lit(step_us))
    return F.timestamp_micros((number * F.lit(step_us)).cast("bigint"))


def with_cutoff(shown: DataFrame, context: RunContext) -> DataFrame:
    """Adds `before` and `features_as_of`. What has no features, because none were written for that moment, is left out."""
    before = shown.withColumn("before", knows_before(F.col("shown_at")))
    dated = before.withColumn("features_as_of", features_as_of(F.col("before"), context.settings))
    return dated.join(F.broadcast(_written(shown, context)), ["as_of", "features_as_of"], "left_semi")


def after_schedule_start(at: Column, context: RunContext) -> Column:
    """Whether something can be, or compete for the outcomes of, an example of the schedule: by far most of a long history cannot.

    An example is shown a lag after the schedule's first moment at the earliest; its outcomes come within a window of it, and what else
    they could be credited to was shown within a window before them.
    """
    if not context.schedule:
        return F.lit(False)
    lag, window = (
        timedelta(minutes=context.settings.training_lag_min),
        timedelta(hours=context.settings.training_window_h),
    )
    return at > moment(min(context.schedule) + lag - window)


def _written(shown: DataFrame, context: RunContext) -> DataFrame:
    """as_of, features_as_of: the moments of each as_of's own schedule whose features are there."""
    pairs = [
        F.struct(moment(as_of).alias("as_of"), moment(at).alias("features_as_of"))
        for as_of in context.as_ofs
        for at in schedule_of(as_of, context.settings)
        if at in context.schedule
    ]
    one = shown.sparkSession.range(0, 1, 1, 1)
    if not pairs:
        return one.select(moment(EPOCH).alias("as_of"), moment(EPOCH).alias("features_as_of")).limit(0)
    return one.select(F.inline(F.array(*pairs)))
