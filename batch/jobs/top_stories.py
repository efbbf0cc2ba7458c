"""What is trending, per language and over all."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from batch.point_in_time import RunContext, live, unfixed

KEPT = 500
"""Stories a language: ten pages of feed deep, and enough left when half of them are already read."""
ALL_LANGUAGES = "*"


def top_stories(story_counters: DataFrame, valid_stories: DataFrame, *, context: RunContext) -> DataFrame:
    """The hottest public stories; those that nobody read do not trend."""
    stories = (
        live(valid_stories, context).where(F.col("visibility") == "public").select("as_of", "story_id", "language")
    )
    hot = with_heat(story_counters).join(stories, ["as_of", "story_id"], "inner").where(F.col("heat") > 0)
    return ranked(in_each_language(hot))


def with_heat(counters: DataFrame) -> DataFrame:
    """as_of, story_id, heat: decayed reads, or opens as long as a lake has no reads at all."""
    lake_reads = F.sum("hot_reads").over(Window.partitionBy("as_of"))
    heat = F.when(lake_reads > 0, F.col("hot_reads")).otherwise(F.col("hot_opens"))
    return counters.select("as_of", "story_id", unfixed(heat).alias("heat"))


def in_each_language(stories: DataFrame) -> DataFrame:
    """Each story once for its language, if known, and once for all languages."""
    languages = F.array_compact(F.array(F.col("language"), F.lit(ALL_LANGUAGES)))
    return stories.withColumn("language", F.explode(languages))


def ranked(stories: DataFrame) -> DataFrame:
    """The first KEPT by heat; ties in the order of ids."""
    by_heat = Window.partitionBy("as_of", "language").orderBy(F.desc("heat"), "story_id")
    return stories.withColumn("rank", F.row_number().over(by_heat) - 1).where(F.col("rank") < KEPT)
