"""How fast popularity fades on a lake: the half-life whose decayed reads best predict what is read next.

The trending half-life is evaluated by the reads of the next day, the story half-life, which rates go by as well, by those of
the week after it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from batch.point_in_time import micros
from batch.tuning.tuned import Tried
from features.arrays import F64, I64
from features.ranking_metrics import discount

DAYS = 14
"""Latest days that are predicted: two of each weekday."""
HISTORY_DAYS = 2
"""Days of reads that have to lie before the first that is predicted."""
DAY_H = 24


@dataclass(frozen=True, slots=True)
class Goal:
    """One setting, and how far ahead it is to look."""

    setting: str
    hours_per_unit: float
    from_d: int
    until_d: int
    """The reads that are to be predicted lie so many days ahead."""
    hours: tuple[float, ...]
    """Half-lives tried, in this order."""


GOALS = (
    # From three hours, below which most days have nothing left to count, to four days.
    Goal("trending_half_life_h", 1.0, 0, 1, (12.0, 24.0, 6.0, 48.0, 3.0, 96.0)),
    # From a day and a half, below which rates have too few events, to two months.
    Goal("story_half_life_d", 24.0, 1, 8, (72.0, 36.0, 144.0, 288.0, 576.0, 1440.0)),
)


@dataclass(frozen=True, slots=True)
class Reads:
    """Reads by story and hour: three columns of one length r."""

    story: I64
    hour: I64
    """Whole hours since 1970."""
    count: F64
    published_hour: I64
    """int64[n], of each story, by (date, id): the later of equals is the newer."""


def reads_of(events: DataFrame, stories: DataFrame) -> Reads:
    """Of what one as_of sees: `events` and `stories` of valid_events and valid_stories. Undated reads do not count."""
    hour = F.floor(F.unix_micros("occurred_at") / F.lit(3_600_000_000)).cast("bigint")
    reads = events.where((F.col("type") == "read") & F.col("occurred_at").isNotNull())
    counts = reads.groupBy("story_id", hour.alias("hour")).agg(F.count("*").alias("n"))
    dated = stories.groupBy("story_id").agg(F.min("published_at").alias("published_at"))
    of_story = dated.select(
        "story_id", F.floor(micros(F.col("published_at")) / F.lit(3_600_000_000)).cast("bigint").alias("published")
    ).orderBy("published", "story_id")
    known = of_story.zipWithIndex("story").persist()
    rows = counts.join(known, "story_id", "inner").select("story", "hour", "n").orderBy("story", "hour").toArrow()
    published = known.orderBy("story").select("published").toArrow()["published"].to_numpy()
    return Reads(rows["story"].to_numpy(), rows["hour"].to_numpy(), rows["n"].to_numpy().astype(np.float64), published)


def choose(reads: Reads, in_time: Callable[[], bool]) -> tuple[dict[str, float], list[Tried], list[str]]:
    """Setting → value, what was tried, and what could not be chosen. The first of each is always tried."""
    days = _days(reads)
    if not len(days):
        return {}, [], [f"half-lives keep their defaults: fewer than {HISTORY_DAYS + 1} days of reads"]
    chosen: dict[str, float] = {}
    tried: list[Tried] = []
    for goal in GOALS:
        best = -np.inf
        for hours in goal.hours:
            if goal.setting in chosen and not in_time():
                break
            value = predicted(reads, days, hours, goal)
            setting = {goal.setting: hours / goal.hours_per_unit}
            tried.append(Tried(setting, f"mean gain of reads {goal.from_d} to {goal.until_d} d ahead", value))
            if value > best:
                best, chosen[goal.setting] = value, setting[goal.setting]
    return chosen, tried, []


def predicted(reads: Reads, days: I64, half_life_h: float, goal: Goal) -> float:
    """Mean gain of the reads that lie as far from each day's start as the goal says, of stories that were out then."""
    total = weight = 0.0
    for start in (days * DAY_H).tolist():
        before = reads.hour < start
        later = (reads.hour >= start + goal.from_d * DAY_H) & (reads.hour < start + goal.until_d * DAY_H)
        later &= reads.published_hour[reads.story] < start
        decayed = reads.count[before] * np.exp2((reads.hour[before] - start) / half_life_h)
        score = np.bincount(reads.story[before], decayed, len(reads.published_hour)).astype(np.float64)
        score[reads.published_hour >= start] = -np.inf
        total += float((discount(places_in(score))[reads.story[later]] * reads.count[later]).sum())
        weight += float(reads.count[later].sum())
    return total / weight if weight else 0.0


def _days(reads: Reads) -> I64:
    """The latest whole days that have reads after enough history."""
    if not len(reads.hour):
        return np.empty(0, np.int64)
    days = np.unique(reads.hour // DAY_H)
    return days[days >= days[0] + HISTORY_DAYS][-DAYS:]


def places_in(scores: F64) -> I64:
    """Place of each entry, greatest first, the later of equals first: float64[n] → int64[n]."""
    order = np.lexsort((-np.arange(len(scores)), -scores))
    places = np.empty(len(scores), np.int64)
    places[order] = np.arange(len(scores))
    return places
