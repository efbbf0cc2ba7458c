"""Stories read by the same users.

similarity = c / sqrt(n1 * n2) * c / (c + s): the cosine of the two stories' users, n1 and n2, of whom c are common, shrunk by
s for little support (Koren, "Factor in the neighbors", TKDD 2010).
"""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from batch.jobs.als_vectors import numbered
from batch.point_in_time import RunContext, newest_first, visible
from features.interactions import LIKING

STORIES_PER_USER = 100
"""Latest liked stories of a user that are paired: at most 4,950 pairs each, so that work grows with users, not with the users of a story squared."""
KEPT = 20
"""Neighbours a story; online reads the first ten, the others replace what is withdrawn meanwhile."""


def similar_stories(valid_events: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per as_of, story and rank."""
    events = visible(valid_events.where(F.col("type").isin(*LIKING)), context)
    numbers = numbered(events, "story_id", "story")
    liked = latest_liked(events.join(numbers, "story_id", "inner")).persist()
    pairs = with_similarity(common_users(liked), user_counts(liked), context.settings.similarity_strength)
    return with_ids(ranked(in_both_directions(pairs)), numbers)


def latest_liked(events: DataFrame) -> DataFrame:
    """as_of, user_id, stories: numbers of each user's latest liked stories (of undated ones any), ascending."""
    last = events.groupBy("as_of", "user_id", "story").agg(F.max("occurred_at").alias("at"))
    newest = F.array_sort(F.collect_list(F.struct(*newest_first(F.col("at"), "user_id", "story"), F.col("story"))))
    kept = F.slice(newest, 1, STORIES_PER_USER)["story"]
    return last.groupBy("as_of", "user_id").agg(F.array_sort(kept).alias("stories"))


def user_counts(liked: DataFrame) -> DataFrame:
    """as_of, story, users."""
    each = liked.select("as_of", F.explode("stories").alias("story"))
    return each.groupBy("as_of", "story").agg(F.count("*").alias("users"))


def common_users(liked: DataFrame) -> DataFrame:
    """as_of, left, right, common: every pair of stories that one user liked, left < right."""
    placed = liked.select("as_of", "stories", F.posexplode("stories").alias("place", "left"))
    later = F.slice("stories", F.col("place") + 2, F.lit(STORIES_PER_USER))
    pairs = placed.select("as_of", "left", F.explode(later).alias("right"))
    return pairs.groupBy("as_of", "left", "right").agg(F.count("*").alias("common"))


def with_similarity(pairs: DataFrame, counts: DataFrame, strength: float) -> DataFrame:
    """as_of, left, right, similarity."""
    of_left = counts.select("as_of", F.col("story").alias("left"), F.col("users").alias("n_left"))
    of_right = counts.select("as_of", F.col("story").alias("right"), F.col("users").alias("n_right"))
    cosine = F.col("common") / F.sqrt(F.col("n_left") * F.col("n_right"))
    similarity = cosine * F.col("common") / (F.col("common") + F.lit(strength))
    both = pairs.join(of_left, ["as_of", "left"], "inner").join(of_right, ["as_of", "right"], "inner")
    return both.select("as_of", "left", "right", similarity.cast("float").alias("similarity"))


def in_both_directions(pairs: DataFrame) -> DataFrame:
    """as_of, story, similar, similarity."""
    ways = [
        F.struct(F.col(a).alias("story"), F.col(b).alias("similar")) for a, b in (("left", "right"), ("right", "left"))
    ]
    return pairs.select("as_of", "similarity", F.inline(F.array(*ways)))


def ranked(pairs: DataFrame) -> DataFrame:
    """The KEPT most similar; ties in the order of ids, which is that of their numbers."""
    nearest = Window.partitionBy("as_of", "story").orderBy(F.desc("similarity"), "similar")
    return pairs.withColumn("rank", F.row_number().over(nearest) - 1).where(F.col("rank") < KEPT)


def with_ids(neighbours: DataFrame, numbers: DataFrame) -> DataFrame:
    """Ids in the place of numbers."""
    similar = numbers.select(F.col("story_id").alias("similar_story_id"), F.col("story").alias("similar"))
    return neighbours.join(numbers, "story", "inner").join(similar, "similar", "inner")
