"""Which raw rows are good, and why the others are not. Pure steps over one DataFrame; `batch.checks` acts on the outcome.

Every row known by the latest as_of gets `reason` (null: good), `valid_from` and `valid_until`. Rows that arrive later
are not looked at, so they change nothing about an earlier as_of, not even what is quarantined.
"""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from batch.io import MISFIT
from batch.point_in_time import RunContext, moment
from features.raw_datasets import CLOCK_SKEW_S
from features.schema import NO_DATES, Dataset
from features.verdicts import CONFLICTING, IN_THE_FUTURE, REPEATED, content_columns

GOOD = "_good"
"""Column: nothing is wrong with the row by itself. A column, so that Spark sees all windows over it to be of one partitioning."""

ALL_ALONG = datetime(1970, 1, 1, tzinfo=UTC)
"""`valid_from` of rows without a time at which they came to be known."""


def judged(rows: DataFrame, dataset: Dataset, context: RunContext) -> DataFrame:
    """All of the steps: raw rows in; known rows with their time filled, `valid_from`, `valid_until`, `reason` out."""
    marked = _with_reason(_known(rows, dataset, context), dataset, context)
    keyed = marked.withColumns({"_content": _content(dataset), "_key": _key(dataset), GOOD: F.col("reason").isNull()})
    return _judge_duplicates(_with_ordinals(keyed), dataset, context).drop(
        MISFIT, NO_DATES, "_content", "_key", "_ordinal"
    )


def _known(rows: DataFrame, dataset: Dataset, context: RunContext) -> DataFrame:
    """Rows known by the latest as_of, with the time they were known at filled in, also as `valid_from`.

    Kept besides, being bad: what has no such time, and what is from the future.
    """
    if not dataset.times:
        return rows.withColumn("valid_from", moment(ALL_ALONG))
    filled = rows.withColumns({time: F.coalesce(*map(F.col, times)) for time, times in dataset.filled_times().items()})
    filled = filled.withColumn("valid_from", F.col(dataset.times[-1]))
    timely = F.col("valid_from").isNull() | (F.col("valid_from") <= moment(context.latest))
    return filled.where(timely | _is_late(dataset, context))


def _is_late(dataset: Dataset, context: RunContext) -> Column:
    limit = moment(context.now + timedelta(seconds=CLOCK_SKEW_S))
    late = [F.coalesce(F.col(time) > limit, F.lit(False)) for time in dataset.past_times]
    return functools.reduce(Column.__or__, late, F.lit(False))


def _with_reason(rows: DataFrame, dataset: Dataset, context: RunContext) -> DataFrame:
    """`reason`: the first thing wrong with the row by itself."""
    late = F.when(_is_late(dataset, context), F.lit(IN_THE_FUTURE))
    failed = [F.when(~F.coalesce(F.expr(c.sql), F.lit(False)), F.lit(c.name)) for c in dataset.checks]
    return rows.withColumn("reason", F.coalesce(MISFIT, late, *failed))


def _content(dataset: Dataset) -> Column:
    """64-bit hash of a row's content. Spark skips nulls, so which columns are null is hashed as well; a list that is null
    counts as an empty one."""
    names = content_columns(dataset)
    nulls = [F.col(name).isNull() for name in names if not pa.types.is_list(dataset.column(name).type)]
    return F.xxhash64(*map(F.col, names), *nulls)


def _key(dataset: Dataset) -> Column:
    """What rows must share to be the same row: the grain; where an event_id is missing, all of the content."""
    if "event_id" not in dataset.grain:
        return F.struct(*dataset.grain)
    texts = [
        F.coalesce(F.col(name).cast("string"), F.lit("\x00"))
        for name in dataset.names
        if name not in (*dataset.partition_by, "event_id")
    ]
    own = F.when(F.col("event_id").isNotNull(), F.concat_ws("\x1f", *dataset.grain))  # good ids hold no such character
    return F.coalesce(own, F.md5(F.concat_ws("\x1f", *texts)))


def _with_ordinals(rows: DataFrame) -> DataFrame:
    """`_ordinal`: 1, 2, … among good rows of one key; content by content, the earliest known first."""
    same = Window.partitionBy("_key", GOOD).orderBy("_content", "valid_from")
    repeated = F.lag("_content").over(same).eqNullSafe(F.col("_content"))
    return rows.withColumn("_repeated", repeated).withColumn("_ordinal", F.row_number().over(same))


def _judge_duplicates(rows: DataFrame, dataset: Dataset, context: RunContext) -> DataFrame:
    """Among good rows of one key: repeats and conflicts; rows without an event_id get key and ordinal for one, and all stay.

    A conflict is there from the moment its second content is known. Until then an as_of sees the first, and does so
    whether it is computed then, later, or together with later ones; a run that has no such as_of quarantines them all.
    """
    good = F.col(GOOD)
    same = Window.partitionBy("_key", GOOD)
    first = F.min(F.struct("valid_from", "_content")).over(same)
    other = F.col("_content") != F.col("_first._content")
    dated = rows.withColumn("_first", first).withColumn(
        "valid_until", F.min(F.when(other, F.col("valid_from"))).over(same)
    )
    void = other | (F.col("valid_until") <= moment(context.as_ofs[0]))
    reason = (
        F.when(good & F.col("_repeated"), F.lit(REPEATED))
        .when(good & void, F.lit(CONFLICTING))
        .otherwise(F.col("reason"))
    )
    if "event_id" not in dataset.grain:
        return dated.withColumn("reason", reason).drop("_first", "_repeated")
    made = F.col("event_id").isNull()
    made_id = F.concat(F.lit("made-"), F.col("_key"), F.lit("-"), F.col("_ordinal").cast("string"))
    return (
        dated.withColumn("reason", F.when(made, F.col("reason")).otherwise(reason))
        .withColumn("event_id", F.when(made & good, made_id).otherwise(F.col("event_id")))
        .drop("_first", "_repeated")
    )
