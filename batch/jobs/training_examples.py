"""What models learn from: everything that was shown, what came of it, and the features as a server had them just before.

Four steps. What was shown, with its outcomes (`shown`, or `negatives` in a lake without impressions). Of which moment of the
schedule the features are, and up to when news counts (`cutoff`). No more of it than is wanted (`downsampled`). The features, by the
annotators that serve feeds, at that moment of the lake (`annotated`).
"""

from __future__ import annotations

import functools
import math

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from batch.example_building.annotated import example_maker
from batch.example_building.cutoff import with_cutoff
from batch.example_building.negatives import sampled
from batch.example_building.shown import impressions, knowing_impressions, with_outcomes
from batch.io import spark_schema
from batch.point_in_time import RunContext, ever_in_force, moment
from features.derived_datasets import TRAINING_EXAMPLES
from features.registry import FEATURES
from features.times import micros

COPIED = tuple(
    name for name in TRAINING_EXAMPLES.names if name not in {"author_id", *(feature.name for feature in FEATURES)}
)
"""Columns that the computation of features leaves as they are."""
PARTS = 1 << 20
"""Requests are dealt into so many parts; a share is that many of them."""
ROWS_PER_TASK = 50_000
"""Half a minute of work, some 50 MB."""


def training_examples(
    valid_events: DataFrame, valid_stories: DataFrame, valid_edges: DataFrame, *, context: RunContext
) -> DataFrame:
    """One row per as_of and impression whose outcomes are known by then, at moments of `context.moments`."""
    shown = with_outcomes(shown_by(valid_events, ever_in_force(valid_stories), context), valid_events, context)
    dated = downsampled(with_cutoff(shown, context).persist(), context).persist()
    asked = dated.count()
    snapshots = {micros(at): str(path) for at, path in context.moments.snapshots.items()}
    maker = example_maker(TRAINING_EXAMPLES.names, snapshots, str(context.moments.log))
    context.notes.append(lambda made: left_out(asked, made))
    return dealt(dated, context).mapInArrow(maker, spark_schema(TRAINING_EXAMPLES))


def shown_by(events: DataFrame, stories: DataFrame, context: RunContext) -> DataFrame:
    """Impressions; for as_ofs at which the lake had none at all, reads and sampled negatives."""
    having = {seconds for (seconds,) in knowing_impressions(events, context).collect()}
    without = tuple(as_of for as_of in context.as_ofs if int(as_of.timestamp()) not in having)
    parts = [impressions(events, context), *([sampled(events, stories, context.at(without))] if without else [])]
    return functools.reduce(DataFrame.unionByName, parts)


def downsampled(shown: DataFrame, context: RunContext) -> DataFrame:
    """Adds `sampled`, the share of requests taken, and leaves out the others, where an as_of has more than `training_rows`.

    Which are taken follows from their names, so the same lake gives the same examples. What has no request goes by
    user and UTC day.
    """
    counts = {
        row["as_of_us"]: row["count"]
        for row in shown.groupBy(F.unix_micros("as_of").alias("as_of_us")).count().collect()
    }
    rows = context.settings.training_rows
    shares = {as_of: min(1.0, rows / max(counts.get(micros(as_of), 0), 1)) for as_of in context.as_ofs}
    sampled = functools.reduce(
        lambda other, item: F.when(F.col("as_of") == moment(item[0]), F.lit(item[1])).otherwise(other),
        shares.items(),
        F.lit(1.0),
    )
    request = F.coalesce("request_id", F.to_date("shown_at").cast("string"))
    part = F.pmod(F.xxhash64("user_id", request), F.lit(PARTS))
    return shown.withColumn("sampled", sampled).where(part < F.col("sampled") * F.lit(PARTS))


def dealt(shown: DataFrame, context: RunContext) -> DataFrame:
    """`shown` as tasks take it: COPIED, `before` and the hashes `user` and `story`. One snapshot's are together, in order of time; if
    there may be many of them, in several parts, each with all of a user's."""
    parts = math.ceil(context.settings.training_rows / ROWS_PER_TASK / max(len(context.schedule), 1))
    hashed = shown.withColumns(
        {"weight": F.col("weight").cast("float"), "user": F.xxhash64("user_id"), "story": F.xxhash64("story_id")}
    )
    together = hashed.select(*COPIED, "before", "user", "story").repartition(
        "features_as_of", F.pmod("user", F.lit(parts))
    )
    return together.sortWithinPartitions("features_as_of", "before", "user_id", "event_id", "as_of")


def left_out(asked: int, made: int) -> str:
    """A sentence about what was shown and could not have been shown from its snapshot; empty where there is nothing."""
    if asked == made:
        return ""
    return f"{asked - made:,} of {asked:,} impressions are left out, because their story could not come from the snapshot of the time"
