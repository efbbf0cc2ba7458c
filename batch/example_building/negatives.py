"""Examples of a lake without impressions, as most users' first lake is: reads, and stories that could have been read instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import LongType, StructField, StructType

from batch.example_building.cutoff import after_schedule_start, knows_before
from batch.example_building.shown import SHOWN, window
from batch.point_in_time import RunContext, visible
from features.arrays import I64
from features.derived_datasets import NEWEST, OPEN_RATE

TRIES = 8
"""Draws made for each wanted one; what was read, withdrawn, not public or drawn before is skipped."""
STRATA = {"newest": NEWEST, "all": 1 << 62}
"""Stratum → from how many of the newest stories it is drawn."""


def sampled(events: DataFrame, stories: DataFrame, context: RunContext) -> DataFrame:
    """as_of, user_id and SHOWN: first reads and their negatives, one made-up request a read."""
    first = first_reads(events, context).persist()
    wanted = context.settings.training_negatives // len(STRATA)
    recent = first.where(after_schedule_start(F.col("shown_at"), context))
    public = drawn(recent, stories, wanted * TRIES)
    read = first.select("as_of", "user_id", "story_id", F.col("shown_at").alias("read_at"))
    unread = public.join(read, ["as_of", "user_id", "story_id"], "left").where(
        F.col("read_at").isNull() | (F.col("read_at") >= F.col("shown_at") + window(context))
    )
    return recent.select("as_of", "user_id", *SHOWN).unionByName(kept(unread, wanted))


def first_reads(events: DataFrame, context: RunContext) -> DataFrame:
    """The positives in the form of impressions, and `before`."""
    mine = Window.partitionBy("as_of", "user_id", "story_id").orderBy("occurred_at", "event_id")
    reads = visible(events.where(F.col("type") == "read"), context).withColumn("place", F.row_number().over(mine))
    first = reads.where(F.col("place") == 1).withColumnRenamed("occurred_at", "shown_at")
    made = {
        "weight": F.lit(1.0),
        "request_id": F.concat(F.lit("read-"), "event_id"),
        "before": knows_before(F.col("shown_at")),
    }
    return first.withColumns(made).select("as_of", "user_id", *SHOWN, "before")


def drawn(first: DataFrame, stories: DataFrame, tries: int) -> DataFrame:
    """Like `first`, with a drawn story in the place of the one read, `stratum` and `try`; public at that moment, not withdrawn."""
    since = stories.groupBy("story_id").agg(F.min(F.greatest("valid_from", "published_at")).alias("since"))
    pool = since.orderBy("since", "story_id").zipWithIndex("number").persist()
    known = np.sort(np.array([us for (us,) in pool.select(F.unix_micros("since")).collect()], np.int64))
    schema = StructType([*first.schema.fields, StructField("pool", LongType())])
    sized = first.mapInArrow(pool_counter(known), schema).where(F.col("pool") > 0)
    strata = F.array(*(F.struct(F.lit(name).alias("stratum"), F.lit(of).alias("of")) for name, of in STRATA.items()))
    each = (
        sized.drop("story_id")
        .select("*", F.inline(strata))
        .withColumn("try", F.explode(F.sequence(F.lit(1), F.lit(tries))))
    )
    size = F.least("pool", "of")
    number = F.col("pool") - size + F.pmod(F.xxhash64("event_id", "stratum", "try"), size)
    found = each.withColumn("number", number).join(pool.select("number", "story_id"), "number", "inner")
    state = with_version(found, stories)
    live = F.col("deleted_at").isNull() | (F.col("deleted_at") > F.col("before"))
    return state.where(live & (F.col("visibility") == "public"))


def with_version(asked: DataFrame, stories: DataFrame) -> DataFrame:
    """Adds `deleted_at` and `visibility` of the version in force to rows with story_id and before; without those whose story was unknown."""
    versions = stories.select("story_id", "valid_from", "valid_until", "deleted_at", "visibility")
    in_force = (F.col("valid_from") <= F.col("before")) & (
        F.col("valid_until").isNull() | (F.col("before") < F.col("valid_until"))
    )
    return asked.join(versions, "story_id", "inner").where(in_force).drop("valid_from", "valid_until")


def pool_counter(known_us: I64) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A function for mapInArrow: adds `pool`, how many of the stories known since `known_us` (ascending) were there `before`."""

    def count(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            before = batch.column("before").cast(pa.int64()).to_numpy()
            yield batch.append_column("pool", pa.array(np.searchsorted(known_us, before), pa.int64()))

    return count


def kept(drawn: DataFrame, wanted: int) -> DataFrame:
    """The first `wanted` different ones of each stratum of a read, as impressions; the negatives of a read share their weight."""
    of_read = ("as_of", "user_id", "event_id")
    same = Window.partitionBy(*of_read, "story_id").orderBy(F.desc("stratum"), "try")
    once = drawn.withColumn("copy", F.row_number().over(same)).where(F.col("copy") == 1)
    order = Window.partitionBy(*of_read, "stratum").orderBy("try")
    chosen = once.withColumn("place", F.row_number().over(order)).where(F.col("place") <= wanted)
    share = F.lit(1 / OPEN_RATE - 1) / F.count("*").over(Window.partitionBy(*of_read))
    named = chosen.withColumn("weight", share).withColumn("event_id", F.concat_ws("-", "event_id", "stratum", "place"))
    return named.select("as_of", "user_id", *SHOWN)
