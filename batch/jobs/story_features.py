"""How each live story has done."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from batch.point_in_time import RunContext, live, unfixed
from batch.rates import OPEN_PRIOR, READ_PRIOR, global_rates, with_counts, with_rates
from features.registry import BY_NAME


def story_features(
    story_counters: DataFrame, valid_stories: DataFrame, author_features: DataFrame, *, context: RunContext
) -> DataFrame:
    """One row per as_of and story that is published and not withdrawn then, with events or without."""
    stories = live(valid_stories, context).select("as_of", "story_id", "author_id")
    counted = with_counts(stories.join(story_counters, ["as_of", "story_id"], "left"))
    rated = with_rates(
        counted,
        "story",
        author_rates(stories, story_counters, author_features, context),
        context.settings.story_strength,
    )
    return rated.withColumns(
        {
            "story_popularity": F.log1p("decayed_reads"),
            "story_momentum": F.coalesce(F.log1p("reads_1d"), F.lit(BY_NAME["story_momentum"].default)),
            "story_claps": F.log1p("decayed_claps"),
            "story_trend": F.log1p(unfixed(F.coalesce("hot_reads", F.lit(0)))),
            "story_reads": F.log1p(F.coalesce("reads_ever", F.lit(0))),
        }
    )


def author_rates(stories: DataFrame, counters: DataFrame, authors: DataFrame, context: RunContext) -> DataFrame:
    """Priors per as_of and story: the author's rates, the global ones where the author is unknown."""
    rates = authors.select("as_of", "author_id", "author_open_rate", "author_read_rate")
    both = stories.join(global_rates(counters, context), "as_of").join(rates, ["as_of", "author_id"], "left")
    return both.select(
        "as_of",
        "story_id",
        F.coalesce("author_open_rate", OPEN_PRIOR).alias(OPEN_PRIOR),
        F.coalesce("author_read_rate", READ_PRIOR).alias(READ_PRIOR),
    )
