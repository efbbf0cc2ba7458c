"""What a server knew of a user at a moment: the last snapshot's profile, and what the user had done since."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from batch.example_building.stories_then import with_state
from batch.point_in_time import micros, moment
from batch.schedule import EPOCH
from features.formulas import RECENT_READS
from features.raw_datasets import TARGET_TYPES
from features.snapshot import AFFINITIES, SIMILAR_KEPT

USER = ("features_as_of", "user_id")


def users_then(
    asked: DataFrame, events: DataFrame, stories: DataFrame, edges: DataFrame, features: dict[str, DataFrame]
) -> DataFrame:
    """One row per USER of `asked` (USER, before), lists of structs or null:

    `<target>_affinity` (hash, and the values of AFFINITIES), `follow_<target>` (hash, from_us, until_us), `seen` (hash, times),
    `vector`, `had_read` (when, µs) and `reads` (hash, read_us, from_us, similar) with the moment from which the service knew of them.
    """
    users = asked.groupBy(*USER).agg(F.max("before").alias("before")).persist()
    rows = users
    for part in (
        *(affinities(users, target, features) for target in TARGET_TYPES),
        _of_profile(users, features).select(
            *USER, _seen(), F.transform("read", lambda one: micros(one["at"])).alias("had_read")
        ),
        _vectors(features),
        reads(users, events, stories, features),
    ):
        rows = rows.join(part, [*USER], "left")
    return rows.join(follows(edges), "user_id", "left").drop("before")


def affinities(users: DataFrame, target: str, features: dict[str, DataFrame]) -> DataFrame:
    """USER, `<target>_affinity` (hash and the values of AFFINITIES)."""
    rows = features[f"user_{target}_affinity"].withColumnRenamed("as_of", "features_as_of")
    values = [F.col(name).cast("float").alias(name) for name in AFFINITIES[target]]
    one = F.struct(F.xxhash64(f"{target}_id").alias("hash"), *values)
    mine = rows.join(users.select(*USER), [*USER], "left_semi")
    return mine.groupBy(*USER).agg(F.collect_list(one).alias(f"{target}_affinity"))


def follows(edges: DataFrame) -> DataFrame:
    """user_id, `follow_<target>`: every follow there ever was, with the interval in which it was in force."""
    added = edges.where((F.col("kind") == "follow") & (F.col("op") == "add"))
    one = F.struct(
        F.xxhash64("target_id").alias("hash"),
        F.unix_micros("valid_from").alias("from_us"),
        F.unix_micros("valid_until").alias("until_us"),
    )
    lists = [
        F.collect_list(F.when(F.col("target_type") == target, one)).alias(f"follow_{target}") for target in TARGET_TYPES
    ]
    return added.groupBy("user_id").agg(*lists)


def reads(users: DataFrame, events: DataFrame, stories: DataFrame, features: dict[str, DataFrame]) -> DataFrame:
    """USER, reads: the snapshot's latest and all since, of stories that the service knew, each with its neighbours then."""
    both = reads_in_snapshot(users, features).unionByName(reads_since(users, events, stories, features))
    with_similar = both.join(neighbours(features), ["features_as_of", "story_id"], "left")
    one = F.struct(
        F.xxhash64("story_id").alias("hash"),
        micros(F.col("read_at")).alias("read_us"),
        F.unix_micros("from_at").alias("from_us"),
        "similar",
    )
    return with_similar.groupBy(*USER).agg(F.collect_list(one).alias("reads"))


def reads_in_snapshot(users: DataFrame, features: dict[str, DataFrame]) -> DataFrame:
    """USER, story_id, read_at, from_at: the RECENT_READS latest of a profile whose stories the snapshot holds."""
    of_profile = _of_profile(users, features)
    each = of_profile.select(*USER, F.posexplode("read").alias("place", "read"))
    held = each.select(*USER, "place", "read.story_id", F.col("read.at").alias("read_at")).join(
        in_snapshot(features), ["features_as_of", "story_id"], "left_semi"
    )
    latest = Window.partitionBy(*USER).orderBy("place")
    kept = held.withColumn("place", F.row_number().over(latest)).where(F.col("place") <= RECENT_READS)
    return kept.select(*USER, "story_id", "read_at", F.col("features_as_of").alias("from_at"))


def reads_since(users: DataFrame, events: DataFrame, stories: DataFrame, features: dict[str, DataFrame]) -> DataFrame:
    """As above, what was received after the snapshot. A story that came after it counts from when it was there, too."""
    done = events.where(F.col("type") == "read").select(
        "user_id", "story_id", F.col("occurred_at").alias("read_at"), F.col("valid_from").alias("received_at")
    )
    since = (F.col("received_at") > F.col("features_as_of")) & (F.col("received_at") < F.col("before"))
    mine = with_state(users.join(done, "user_id", "inner").where(since), stories)
    held = in_snapshot(features).withColumn("held", F.lit(True))
    placed = mine.join(held, ["features_as_of", "story_id"], "left")
    from_at = F.when(F.col("held"), F.col("received_at")).otherwise(F.greatest("received_at", "put_from"))
    known = F.col("held") | (F.col("put_from") > moment(EPOCH))
    return placed.where(known).select(*USER, "story_id", "read_at", from_at.alias("from_at"))


def neighbours(features: dict[str, DataFrame]) -> DataFrame:
    """features_as_of, story_id, similar: the SIMILAR_KEPT nearest (hash, value) among the stories that the snapshot holds."""
    pairs = features["similar_stories"].withColumnRenamed("as_of", "features_as_of")
    held = in_snapshot(features)
    live = pairs.join(held, ["features_as_of", "story_id"], "left_semi").join(
        held.withColumnRenamed("story_id", "similar_story_id"), ["features_as_of", "similar_story_id"], "left_semi"
    )
    one = F.struct("rank", F.xxhash64("similar_story_id").alias("hash"), F.col("similarity").alias("value"))
    nearest = F.slice(F.sort_array(F.collect_list(one)), 1, SIMILAR_KEPT)
    return live.groupBy("features_as_of", "story_id").agg(nearest.alias("similar"))


def in_snapshot(features: dict[str, DataFrame]) -> DataFrame:
    """features_as_of, story_id: the stories that each snapshot holds."""
    return features["story_features"].select(F.col("as_of").alias("features_as_of"), "story_id")


def _of_profile(users: DataFrame, features: dict[str, DataFrame]) -> DataFrame:
    profiles = features["user_profiles"].withColumnRenamed("as_of", "features_as_of")
    return profiles.select(*USER, "read", "seen").join(users.select(*USER), [*USER], "left_semi")


def _seen() -> Column:
    return F.transform(
        "seen", lambda s: F.struct(F.xxhash64(s["story_id"]).alias("hash"), s["times"].alias("times"))
    ).alias("seen")


def _vectors(features: dict[str, DataFrame]) -> DataFrame:
    rows = features["als_vectors"].where(F.col("entity") == "user")
    return rows.select(
        F.col("as_of").alias("features_as_of"), F.col("id").alias("user_id"), F.col("vector").alias("user_vector")
    )
