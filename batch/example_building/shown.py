"""What users were shown, and what came of it."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from batch.example_building.cutoff import after_schedule_start
from batch.point_in_time import RunContext, visible
from features.interactions import LABELS

EXAMPLE = ("as_of", "user_id", "event_id")
SHOWN = ("event_id", "story_id", "request_id", "shown_at", "position", "source", "propensity", "weight")


def impressions(events: DataFrame, context: RunContext) -> DataFrame:
    """as_of, user_id and SHOWN: every impression that each as_of knows and that may matter to its schedule, with weight 1."""
    recent = (F.col("type") == "impression") & after_schedule_start(F.col("occurred_at"), context)
    seen = visible(events.where(recent), context)
    return (
        seen.withColumnRenamed("occurred_at", "shown_at")
        .withColumn("weight", F.lit(1.0))
        .select("as_of", "user_id", *SHOWN)
    )


def knowing_impressions(events: DataFrame, context: RunContext) -> DataFrame:
    """The as_ofs, in seconds since 1970, that know any impression at all, however old."""
    seen = visible(events.where(F.col("type") == "impression").select("valid_from", "valid_until"), context)
    return seen.select(F.unix_seconds("as_of")).distinct()


def with_outcomes(shown: DataFrame, events: DataFrame, context: RunContext) -> DataFrame:
    """Adds a boolean column a label. What was shown so late that its window has not passed by as_of is left out."""
    ended = F.col("shown_at") + window(context) <= F.col("as_of")
    labels = (
        credited(shown, events, context)
        .groupBy(*EXAMPLE)
        .agg(*(F.bool_or(F.col("type").isin(*kinds)).alias(label) for label, kinds in LABELS.items()))
    )
    both = shown.where(ended).join(labels, [*EXAMPLE], "left")
    return both.fillna(False, [*LABELS])


def credited(shown: DataFrame, events: DataFrame, context: RunContext) -> DataFrame:
    """EXAMPLE, type: every outcome, credited to one example of its user and story whose window it falls into.

    That is the one of its own request; when none is, the latest before it.
    """
    kinds = {kind for kinds in LABELS.values() for kind in kinds}
    recent = F.col("type").isin(*kinds) & after_schedule_start(F.col("occurred_at"), context)
    done = visible(events.where(recent), context).select(
        "as_of",
        "user_id",
        "story_id",
        "type",
        "occurred_at",
        F.col("request_id").alias("of_request"),
        F.col("event_id").alias("outcome"),
    )
    within = (F.col("occurred_at") >= F.col("shown_at")) & (F.col("occurred_at") < F.col("shown_at") + window(context))
    own = F.coalesce(F.col("of_request") == F.col("request_id"), F.lit(False))
    best = Window.partitionBy("as_of", "user_id", "outcome").orderBy(F.desc("_own"), F.desc("shown_at"), "event_id")
    pairs = shown.join(done, ["as_of", "user_id", "story_id"], "inner").where(within).withColumn("_own", own)
    return pairs.withColumn("_place", F.row_number().over(best)).where(F.col("_place") == 1).select(*EXAMPLE, "type")


def window(context: RunContext) -> Column:
    """How long after an impression its outcomes count."""
    return F.make_dt_interval(hours=F.lit(context.settings.training_window_h))
