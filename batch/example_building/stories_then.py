"""What a server knew of a story at a moment: what was stated of it by then, and what the last snapshot had learned.

Three sources, as in serving. Stated (author, publication, topics, language, time): the latest version known. Learned (rates,
counters, vector): the snapshot's, if the story was in it; else it is a newcomer with its author's rates, no vector and no
neighbours. Of the names: what the snapshot says of that author, that publication, those topics, that language; the registry's
defaults where it says nothing.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from batch.point_in_time import moment
from batch.schedule import EPOCH
from features.formulas import NEWCOMER_RATES
from features.raw_datasets import CLOCK_SKEW_S
from features.registry import BY_NAME, Feature, registered

LOGGED = ("author_id", "publication_id", "topics", "language", "published_at")
ONE_EACH = {"story": "story_id", "author": "author_id", "publication": "publication_id", "language": "language"}
"""What a story has one of at most, and the column that says which."""
STATE = ("features_as_of", "story_id", "described_from", "put_from")
"""What identifies the state of a story: snapshot, story, its version, and the first version put after the snapshot."""


def with_state(asked: DataFrame, stories: DataFrame) -> DataFrame:
    """Adds `described_from` and `put_from` to rows with story_id, before, features_as_of; without those whose story was not known yet."""
    dated = with_versions(asked, stories)
    put = F.try_element_at(F.filter("known", _put_since), F.lit(1))
    return dated.withColumn("put_from", F.coalesce(put["valid_from"], moment(EPOCH))).drop("known")


def with_versions(asked: DataFrame, stories: DataFrame) -> DataFrame:
    """Adds, to rows with story_id and before, `known`, the versions known by then, and `described_from`, `deleted_at`, `visibility` of the last.

    Rows whose story was not known yet are left out: no server could have shown it.
    """
    known = F.filter("versions", lambda v: v["valid_from"] <= F.col("before"))
    both = asked.join(versions(stories), "story_id", "inner").withColumn("known", known).drop("versions")
    last = F.element_at("known", -1)
    return both.where(F.size("known") > 0).withColumns(
        {"described_from": last["valid_from"], "deleted_at": last["deleted_at"], "visibility": last["visibility"]}
    )


def _put_since(version: Column) -> Column:
    """Whether the service learned of a version from the stream: it replays what came after as_of less the clock skew."""
    since = F.col("features_as_of") - F.make_dt_interval(secs=F.lit(CLOCK_SKEW_S))
    return (version["valid_from"] > since) & version["deleted_at"].isNull()


def versions(stories: DataFrame) -> DataFrame:
    """story_id, versions: array of all its versions, the earliest known first."""
    version = F.struct("valid_from", "deleted_at", "visibility")
    return stories.groupBy("story_id").agg(F.sort_array(F.collect_list(version)).alias("versions"))


def stories_then(states: DataFrame, stories: DataFrame, features: dict[str, DataFrame]) -> DataFrame:
    """One row per distinct STATE: author_id, `author` and `publication` (hashes), published_at, `topics` (structs of hash and
    features), `vector` (null: none), and every feature of the entities in ONE_EACH.
    """
    described = _described(states.select(*STATE).distinct(), stories).persist()
    rows = described
    for entity, key in ONE_EACH.items():
        rows = rows.join(_of(entity, key, features), ["features_as_of", key], "left")
    rows = rows.join(_newcomers_rates(features), ["features_as_of", "first_author_id"], "left")
    rows = rows.join(_vectors(features), ["features_as_of", "story_id"], "left")
    rows = rows.drop("topics").join(topics_then(described, features), [*STATE], "left")
    vector = F.when(F.col("in_snapshot"), F.col("vector"))  # a withdrawn story has one, too, but no snapshot holds it
    values = {name: _value(BY_NAME[name]) for entity in ONE_EACH for name in _names(entity)}
    hashes = {"author": F.xxhash64("author_id"), "publication": F.xxhash64("publication_id")}
    hashes = {name: F.when(F.col(f"{name}_id").isNotNull(), value) for name, value in hashes.items()}
    return rows.withColumns({**values, **hashes, "vector": vector}).select(
        *STATE, "author_id", *hashes, "published_at", "topics", "vector", *values
    )


def _described(states: DataFrame, stories: DataFrame) -> DataFrame:
    """STATE, LOGGED and first_author_id: the author under whom the service first saw a newcomer."""
    version = stories.select("story_id", F.col("valid_from").alias("described_from"), *LOGGED)
    first = stories.select("story_id", F.col("valid_from").alias("put_from"), F.col("author_id").alias("put_author_id"))
    both = states.join(version, ["story_id", "described_from"], "inner").join(first, ["story_id", "put_from"], "left")
    was_put = F.col("put_from") > moment(EPOCH)
    return both.withColumn("first_author_id", F.when(was_put, F.col("put_author_id")).otherwise(F.col("author_id")))


def topics_then(described: DataFrame, features: dict[str, DataFrame]) -> DataFrame:
    """STATE, topics: array<struct<place, hash, one field a feature>> in the story's order; null without topics."""
    each = described.select(*STATE, F.posexplode("topics").alias("place", "topic_id")).where(
        F.col("topic_id").isNotNull()
    )
    rated = each.join(_of("topic", "topic_id", features), ["features_as_of", "topic_id"], "left")
    values = [_value(feature).alias(feature.name) for feature in registered("topic")]
    topic = F.struct("place", F.xxhash64("topic_id").alias("hash"), *values)
    return rated.groupBy(*STATE).agg(F.sort_array(F.collect_list(topic)).alias("topics"))


def _of(entity: str, key: str, features: dict[str, DataFrame]) -> DataFrame:
    """features_as_of, `key` (the entity's id) and its features; for stories `in_snapshot`, too."""
    rows = features[f"{entity}_features"].withColumnRenamed("as_of", "features_as_of")
    mark = [F.lit(True).alias("in_snapshot")] if entity == "story" else []
    return rows.select("features_as_of", key, *_names(entity), *mark)


def _newcomers_rates(features: dict[str, DataFrame]) -> DataFrame:
    """The author's rates under the names of what they stand for."""
    rates = [F.col(of_author).alias(f"newcomer_{name}") for name, of_author in NEWCOMER_RATES.items()]
    return _of("author", "author_id", features).select(
        "features_as_of", F.col("author_id").alias("first_author_id"), *rates
    )


def _vectors(features: dict[str, DataFrame]) -> DataFrame:
    rows = features["als_vectors"].where(F.col("entity") == "story")
    return rows.select(F.col("as_of").alias("features_as_of"), F.col("id").alias("story_id"), "vector")


def _value(feature: Feature) -> Column:
    """The feature's column, its newcomer's rate, its default: the first that is there."""
    columns = [F.col(feature.name)]
    columns += [F.col(f"newcomer_{feature.name}")] if feature.name in NEWCOMER_RATES else []
    return F.coalesce(*columns, F.lit(feature.default).cast("float"))


def _names(entity: str) -> tuple[str, ...]:
    return tuple(feature.name for feature in registered(entity))
