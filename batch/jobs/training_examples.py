"""What models learn from: everything that was shown, what came of it, and the features as a server had them just before.

Five steps. What was shown, with its outcomes (`shown`, or `negatives` in a lake without impressions). Of which moment of the
schedule the features are, and up to when news counts (`cutoff`). No more of it than is wanted (`downsampled`). What a server knew then
of the stories and of the users (`stories_then`, `users_then`). The features of both together, by the formulas that serve online
(`compute`).
"""

from __future__ import annotations

import functools
from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from batch.example_building.compute import example_maker
from batch.example_building.cutoff import with_cutoff
from batch.example_building.negatives import sampled
from batch.example_building.shown import impressions, knowing_impressions, with_outcomes
from batch.example_building.stories_then import STATE, stories_then, with_state
from batch.example_building.users_then import USER, users_then
from batch.io import spark_schema
from batch.point_in_time import RunContext, ever_in_force, micros, moment
from features.derived_datasets import TRAINING_EXAMPLES
from features.registry import FEATURES

COPIED = tuple(name for name in TRAINING_EXAMPLES.names if name not in {feature.name for feature in FEATURES})
"""Columns that the computation of features leaves as they are."""
PARTS = 1 << 20
"""Requests are dealt into so many parts; a share is that many of them."""


def training_examples(
    valid_events: DataFrame,
    valid_stories: DataFrame,
    valid_edges: DataFrame,
    *,
    context: RunContext,
    **features: DataFrame,
) -> DataFrame:
    """One row per as_of and impression whose outcomes are known by then; `features`: datasets of the schedule, by name."""
    stories_put = ever_in_force(valid_stories)  # of a story and a moment at most one begins then
    shown = with_outcomes(shown_by(valid_events, stories_put, context), valid_events, context)
    dated = with_state(downsampled(with_cutoff(shown, context).persist(), context), stories_put).persist()
    stories = stories_then(dated, stories_put, features)
    users = users_then(dated, valid_events, stories_put, valid_edges, features)
    rows = in_one_row_a_user(dated.join(stories, [*STATE], "inner")).join(users, [*USER], "left")
    return rows.mapInArrow(example_maker(COPIED), spark_schema(TRAINING_EXAMPLES))


def shown_by(events: DataFrame, stories: DataFrame, context: RunContext) -> DataFrame:
    """Impressions; for as_ofs at which the lake had none at all, reads and sampled negatives."""
    having = {seconds for (seconds,) in knowing_impressions(events, context).collect()}
    without = tuple(as_of for as_of in context.as_ofs if int(as_of.timestamp()) not in having)
    parts = [impressions(events, context), *([sampled(events, stories, context.at(without))] if without else [])]
    return functools.reduce(DataFrame.unionByName, parts)


def in_one_row_a_user(examples: DataFrame) -> DataFrame:
    """as_of and USER, and `shown`: a list of structs of everything else."""
    weight = {"weight": F.col("weight").cast("float")}
    in_micros = {f"{name}_us": micros(F.col(f"{name}_at")) for name in ("shown", "published")}
    timed = examples.withColumns(
        {**weight, **in_micros, "before_us": F.unix_micros("before"), "story": F.xxhash64("story_id")}
    )
    kept = [
        name for name in timed.columns if name not in {"before", *STATE[2:], "deleted_at", "visibility", "published_at"}
    ]
    return timed.groupBy("as_of", *USER).agg(F.collect_list(F.struct(*kept)).alias("shown"))


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
    shares = {as_of: min(1.0, rows / max(counts.get(_micros(as_of), 0), 1)) for as_of in context.as_ofs}
    sampled = functools.reduce(
        lambda other, item: F.when(F.col("as_of") == moment(item[0]), F.lit(item[1])).otherwise(other),
        shares.items(),
        F.lit(1.0),
    )
    request = F.coalesce("request_id", F.to_date("shown_at").cast("string"))
    part = F.pmod(F.xxhash64("user_id", request), F.lit(PARTS))
    return shown.withColumn("sampled", sampled).where(part < F.col("sampled") * F.lit(PARTS))


def _micros(as_of: datetime) -> int:
    return int(as_of.timestamp()) * 1_000_000
