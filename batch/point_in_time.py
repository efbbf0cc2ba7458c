"""Nothing from after `as_of`: the one place that decides what a moment may see, and how old things are then.

A validated row carries the interval of as_ofs that see it (see `features.derived_datasets.VISIBLE`). Crossing rows with
the wanted as_ofs gives features of many moments in one pass, with `as_of` in the grain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from batch.settings import BatchSettings
from features.times import UNDATED

FIXED_ONE = 1 << 30
"""1.0 in fixed point. Sums of integers do not depend on their order; 2^-30 is finer than float32, and 2^63 / 2^30 is
room for eight thousand million whole events."""
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class MomentFiles:
    """From which Python workers know what could be known at an instant, see batch/moments/."""

    snapshots: Mapping[datetime, Path] = field(default_factory=dict)
    """as_of → file of batch/moments/lake_snapshot.py."""
    log: Path = Path()
    """File of batch/moments/lake_log.py."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """What one run is about."""

    as_ofs: tuple[datetime, ...]
    """UTC, whole seconds, ascending, at least one."""
    now: datetime
    """The caller's clock; only rows from the future are judged by it."""
    settings: BatchSettings
    schedule: tuple[datetime, ...] = ()
    """Earlier moments whose features are there, ascending; filled for a job that looks back."""
    fits: Mapping[datetime, datetime] = field(default_factory=dict)
    """Of each moment of the schedule, the as_of of the fit that it uses (see batch/schedule.py)."""
    validated: datetime | None = None
    """The moment at which what came in was validated; None: the latest of as_ofs."""
    moments: MomentFiles = field(default_factory=MomentFiles)
    """Of the schedule, for a job that looks back."""
    notes: list[Callable[[int], str]] = field(default_factory=list)
    """What a job has to say once it is known how many rows it made; empty text: nothing."""

    def at(self, as_ofs: tuple[datetime, ...]) -> RunContext:
        """The same, for other moments."""
        return replace(self, as_ofs=as_ofs)

    @property
    def latest(self) -> datetime:
        """The moment at which validated datasets are written; it sees all that the as_ofs see."""
        return self.validated or self.as_ofs[-1]


def moment(instant: datetime) -> Column:
    """`instant` as a literal, exact to the microsecond and independent of any session's zone."""
    seconds, micros = int(instant.timestamp() // 1), instant.microsecond
    return F.timestamp_micros(F.lit(seconds * 1_000_000 + micros).cast("bigint"))


def as_of_rows(spark: SparkSession, as_ofs: Sequence[datetime]) -> DataFrame:
    """One row an as_of."""
    return spark.range(0, 1, 1, 1).select(F.explode(F.array(*map(moment, as_ofs))).alias("as_of"))


def visible(rows: DataFrame, context: RunContext) -> DataFrame:
    """The rows of a validated dataset that each as_of sees, with `as_of`, without the interval's columns."""
    schedule = F.broadcast(as_of_rows(rows.sparkSession, context.as_ofs))
    seen = (F.col("valid_from") <= F.col("as_of")) & (
        F.col("valid_until").isNull() | (F.col("as_of") < F.col("valid_until"))
    )
    return rows.join(schedule, seen, "inner").drop("valid_from", "valid_until")


def ever_in_force(rows: DataFrame) -> DataFrame:
    """Without rows that no moment sees: they arrived after a later version, or another one arrived at the same instant."""
    return rows.where(F.col("valid_until").isNull() | (F.col("valid_from") < F.col("valid_until")))


def published(stories: DataFrame, context: RunContext) -> DataFrame:
    """State at each as_of of every story published by then, or at an unknown time; withdrawn ones included."""
    return visible(stories, context).where(F.col("published_at").isNull() | (F.col("published_at") <= F.col("as_of")))


def live(stories: DataFrame, context: RunContext) -> DataFrame:
    """State at each as_of of every story that users can find then."""
    return published(stories, context).where(F.col("deleted_at").isNull() | (F.col("deleted_at") > F.col("as_of")))


def with_one(stories: DataFrame, key: str, context: RunContext) -> DataFrame:
    """as_of, story_id, `key` of published stories that have one, such as an author."""
    return published(stories, context).where(F.col(key).isNotNull()).select("as_of", "story_id", key)


def with_each_topic(stories: DataFrame, context: RunContext) -> DataFrame:
    """as_of, story_id, topic_id: a row for each topic of a published story."""
    return published(stories, context).select("as_of", "story_id", F.explode("topics").alias("topic_id"))


def in_force(
    edges: DataFrame, context: RunContext, kind: str | None = None, target_type: str | None = None
) -> DataFrame:
    """Follows, mutes and blocks that hold at each as_of."""
    rows = visible(edges, context).where(F.col("op") == "add")
    rows = rows if kind is None else rows.where(F.col("kind") == kind)
    return rows if target_type is None else rows.where(F.col("target_type") == target_type)


def age_s() -> Column:
    """Seconds from occurred_at to as_of; 0 for what a fast clock dated a little later, null for what is undated."""
    age = (F.unix_micros("as_of") - F.unix_micros("occurred_at")) / F.lit(1e6)
    return F.when(age.isNotNull(), F.greatest(age, F.lit(0.0)))  # `greatest` passes over nulls


def newest_first(at: Column, *ids: str) -> list[Column]:
    """What to sort by, ascending. The undated come last, in an order that is the same in every run and that favours no id."""
    return [(-micros(at)).alias("order"), F.when(at.isNull(), F.xxhash64(*ids)).alias("drawn")]


def micros(at: Column) -> Column:
    """A time as an integer, the way a snapshot holds it: microseconds since 1970, UNDATED for null."""
    return F.coalesce(F.unix_micros(at), F.lit(UNDATED))


def decayed(amount: Column, age: Column, half_life_s: float) -> Column:
    """`amount`, halved every half-life, in fixed point (bigint): round(amount * 0.5 ** (age / half-life) * 2^30).

    What has no age does not decay: of undated events, sums are over all time.
    """
    halvings = F.coalesce(age, F.lit(0.0)) / F.lit(half_life_s)
    return F.round(amount * F.pow(F.lit(0.5), halvings) * F.lit(float(FIXED_ONE))).cast("bigint")


def unfixed(total: Column) -> Column:
    """A sum in fixed point as double."""
    return total / F.lit(float(FIXED_ONE))
