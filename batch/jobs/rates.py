"""How stories have done, and their authors, publications, topics and languages: smoothed rates from integer sums.

rate = (successes + k * prior) / (trials + k): the posterior mean of a beta-binomial whose prior is worth k trials.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from batch.point_in_time import FIXED_ONE, RunContext, as_of_rows, in_force, live, unfixed, with_each_topic, with_one
from features.derived_datasets import COUNTED, WINDOWS_D
from features.registry import BY_NAME

OPEN_PRIOR, READ_PRIOR = "open_prior", "read_prior"
WINDOW_COUNTS = tuple(f"{what}_{d}d" for what in COUNTED for d in WINDOWS_D)
FIXED_COUNTS = tuple(f"fixed_{what}" for what in COUNTED)


def story_features(
    story_counters: DataFrame, valid_stories: DataFrame, author_features: DataFrame, *, context: RunContext
) -> DataFrame:
    """One row per as_of and story that is published and not withdrawn then, with events or without.

    The prior of a story's rates are its author's rates, the global ones where the author is unknown.
    """
    stories = live(valid_stories, context).select("as_of", "story_id", "author_id")
    counted = with_counts(stories.join(story_counters, ["as_of", "story_id"], "left"))
    of_author = author_features.select("as_of", "author_id", "author_open_rate", "author_read_rate")
    both = stories.join(global_rates(story_counters, context), "as_of").join(of_author, ["as_of", "author_id"], "left")
    priors = both.select(
        "as_of",
        "story_id",
        F.coalesce("author_open_rate", OPEN_PRIOR).alias(OPEN_PRIOR),
        F.coalesce("author_read_rate", READ_PRIOR).alias(READ_PRIOR),
    )
    return with_rates(counted, "story", priors, context.settings.story_strength).withColumns(
        {
            "story_popularity": F.log1p("decayed_reads"),
            "story_momentum": F.coalesce(F.log1p("reads_1d"), F.lit(BY_NAME["story_momentum"].default)),
            "story_claps": F.log1p("decayed_claps"),
            "story_trend": F.log1p(unfixed(F.coalesce("hot_reads", F.lit(0)))),
            "story_reads": F.log1p(F.coalesce("reads_ever", F.lit(0))),
        }
    )


def author_features(
    story_counters: DataFrame, valid_stories: DataFrame, valid_edges: DataFrame, *, context: RunContext
) -> DataFrame:
    """One row per as_of and author of a published story or with a follower."""
    sums = summed_by(story_counters, with_one(valid_stories, "author_id", context), "author_id")
    follows = in_force(valid_edges, context, "follow", "author").withColumnRenamed("target_id", "author_id")
    followers = follows.groupBy("as_of", "author_id").agg(F.count("*").alias("followers"))
    rates = entity_rates(sums.join(followers, ["as_of", "author_id"], "full"), "author", story_counters, context)
    return rates.withColumn("followers", F.coalesce("followers", F.lit(0))).withColumn(
        "author_followers", F.log1p("followers")
    )


def publication_features(story_counters: DataFrame, valid_stories: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per as_of and publication with a published story."""
    sums = summed_by(story_counters, with_one(valid_stories, "publication_id", context), "publication_id")
    return entity_rates(sums, "publication", story_counters, context)


def topic_features(story_counters: DataFrame, valid_stories: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per as_of and topic with a published story; a story counts for each of its topics."""
    sums = summed_by(story_counters, with_each_topic(valid_stories, context), "topic_id")
    return entity_rates(sums, "topic", story_counters, context)


def language_features(story_counters: DataFrame, valid_stories: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per as_of and language with a published story; stories without a language count for none."""
    sums = summed_by(story_counters, with_one(valid_stories, "language", context), "language")
    return entity_rates(sums, "language", story_counters, context)


def summed_by(counters: DataFrame, stories: DataFrame, key: str) -> DataFrame:
    """Sums of `counters` over the stories of each (as_of, key); a story without events adds nothing, its key stays."""
    sums = [F.sum(name).alias(name) for name in (*WINDOW_COUNTS, *FIXED_COUNTS)]
    return stories.join(counters, ["as_of", "story_id"], "left").groupBy("as_of", key).agg(*sums)


def entity_rates(sums: DataFrame, entity: str, counters: DataFrame, context: RunContext) -> DataFrame:
    """`sums` with counts, and with rates smoothed towards those of all stories."""
    return with_rates(with_counts(sums), entity, global_rates(counters, context), context.settings.entity_strength)


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
    """Reads per open. Where a lake records no opens, or fewer than reads, each read counts as its own open."""
    return _smoothed(F.col("fixed_reads"), F.greatest("fixed_opens", "fixed_reads"), prior, strength)


def _smoothed(successes: Column, trials: Column, prior: Column, strength: float) -> Column:
    weight = F.lit(strength * FIXED_ONE)
    return (successes + weight * prior) / (trials + weight)
