"""Smoothed open and read-through rates from integer sums.

rate = (successes + k * prior) / (trials + k): the posterior mean of a beta-binomial whose prior is worth k trials.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from batch.point_in_time import FIXED_ONE, RunContext, as_of_rows, unfixed
from features.derived_datasets import COUNTED, WINDOWS_D
from features.registry import BY_NAME

OPEN_PRIOR, READ_PRIOR = "open_prior", "read_prior"
WINDOW_COUNTS = tuple(f"{what}_{d}d" for what in COUNTED for d in WINDOWS_D)
FIXED_COUNTS = tuple(f"fixed_{what}" for what in COUNTED)


def summed_by(counters: DataFrame, stories: DataFrame, key: str) -> DataFrame:
    """Sums of `counters` over the stories of each (as_of, key); a story without events adds nothing, its key stays."""
    sums = [F.sum(name).alias(name) for name in (*WINDOW_COUNTS, *FIXED_COUNTS)]
    return stories.join(counters, ["as_of", "story_id"], "left").groupBy("as_of", key).agg(*sums)


def with_counts(sums: DataFrame) -> DataFrame:
    """No events is 0, and decayed sums also as doubles. Windows stay null where there are events, but none with a date."""
    quiet = F.col(FIXED_COUNTS[0]).isNull()
    windows = {name: F.when(quiet, F.lit(0)).otherwise(F.col(name)) for name in WINDOW_COUNTS}
    filled = sums.withColumns(windows).fillna(0, [*FIXED_COUNTS])
    return filled.withColumns({f"decayed_{what}": unfixed(F.col(f"fixed_{what}")) for what in COUNTED})


def global_rates(counters: DataFrame, context: RunContext) -> DataFrame:
    """as_of, open_prior, read_prior: rates over all stories; the registry's defaults where nothing has happened yet."""
    sums = counters.groupBy("as_of").agg(*(F.sum(name).alias(name) for name in FIXED_COUNTS))
    every = as_of_rows(counters.sparkSession, context.as_ofs).join(sums, "as_of", "left").fillna(0)
    strength = context.settings.global_strength
    default_open, default_read = (F.lit(BY_NAME[f"story_{rate}_rate"].default) for rate in ("open", "read"))
    return every.select(
        "as_of",
        open_rate(default_open, strength).alias(OPEN_PRIOR),
        read_rate(default_read, strength).alias(READ_PRIOR),
    )


def with_rates(counts: DataFrame, entity: str, priors: DataFrame, strength: float) -> DataFrame:
    """`<entity>_open_rate` and `<entity>_read_rate`, smoothed towards `priors` (by as_of, and by story where it has one)."""
    keys = [name for name in priors.columns if name not in (OPEN_PRIOR, READ_PRIOR)]
    rated = counts.join(priors, keys, "inner")
    return rated.withColumn(f"{entity}_open_rate", open_rate(F.col(OPEN_PRIOR), strength)).withColumn(
        f"{entity}_read_rate", read_rate(F.col(READ_PRIOR), strength)
    )


def open_rate(prior: Column, strength: float) -> Column:
    """Opens per impression. Opens beyond the impressions came by another way than the feed and are left out."""
    return _smoothed(F.least("fixed_opens", "fixed_impressions"), F.col("fixed_impressions"), prior, strength)


def read_rate(prior: Column, strength: float) -> Column:
    """Reads per open. Where a lake notes no opens, or fewer than reads, each read counts as its own open."""
    return _smoothed(F.col("fixed_reads"), F.greatest("fixed_opens", "fixed_reads"), prior, strength)


def _smoothed(successes: Column, trials: Column, prior: Column, strength: float) -> Column:
    weight = F.lit(strength * FIXED_ONE)
    return (successes + weight * prior) / (trials + weight)
