"""What came in, checked and deduplicated; of what changes, one row a version with the interval in which it is the latest.

Each job returns every known row, with `reason` where it is bad. Bad rows go to quarantine as they came.
"""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from batch.arrow_functions import duplicate_key, known
from batch.changes import at_once, shows_less, until_next_change
from batch.point_in_time import RunContext
from batch.validation import judged
from features.interactions import INTERACTIONS
from features.raw_datasets import EDGE_KINDS, EDGES, EVENTS, PROMOTIONS, STORIES, USERS
from features.verdicts import UNKNOWN_STORY

EDGE = ("user_id", "kind", "target_type", "target_id")
_OF_BLOCK = "_of_block"
"""Column: the row is the end of a follow that a block brings about, and so applies on arrival."""


def valid_stories(stories: DataFrame, *, context: RunContext) -> DataFrame:
    """Stories, with defaults for what the raw lake may leave out, their languages, and their keys."""
    versions = until_next_change(judged(stories, STORIES, context), ("story_id",), "updated_at")
    language = F.get(known(F.array("language")), F.lit(0))
    return with_keys(
        versions.withColumns(
            {
                "language": F.when(F.col("reason").isNull(), language).otherwise(F.col("language")),
                "topics": F.array_distinct(F.coalesce(F.col("topics"), F.array().cast("array<string>"))),
                "visibility": F.coalesce(F.col("visibility"), F.lit("public")),
                "members_only": F.coalesce(F.col("members_only"), F.lit(False)),
            }
        )
    )


def with_keys(stories: DataFrame) -> DataFrame:
    """The hash of the id, and a key that near-duplicates share."""
    hashed = stories.withColumn("story_hash", F.xxhash64("story_id"))
    return hashed.withColumn("duplicate_key", duplicate_key(F.col("title"), F.col("story_hash")))


def valid_users(users: DataFrame, *, context: RunContext) -> DataFrame:
    """Accounts; languages sorted, none: any; not a member unless stated."""
    versions = until_next_change(judged(users, USERS, context), ("user_id",), "updated_at")
    tags = F.coalesce(F.col("languages"), F.array().cast("array<string>"))
    return versions.withColumn("languages", F.when(F.col("reason").isNull(), known(tags)).otherwise(tags)).withColumn(
        "is_member", F.coalesce(F.col("is_member"), F.lit(False))
    )


def valid_edges(edges: DataFrame, *, context: RunContext) -> DataFrame:
    """The log of follows, mutes and blocks, and the ends of follows that blocks bring about."""
    logged = with_ended_follows(judged(edges, EDGES, context))
    on_arrival = at_once(EDGE_KINDS) | F.col(_OF_BLOCK)
    return until_next_change(logged, EDGE, "occurred_at", shows_less(), "event_id", at_once=on_arrival).drop(_OF_BLOCK)


def with_ended_follows(edges: DataFrame) -> DataFrame:
    """`edges` and _OF_BLOCK. A block of a user ends the follows between the two when it arrives, at its own time.

    The service writes these ends itself, under ids made of the block's, and they stay as they arrived; they are added for
    blocks that came otherwise.
    """
    blocks = edges.where(
        F.col("reason").isNull()
        & (F.col("kind") == "block")
        & (F.col("op") == "add")
        & (F.col("target_type") == "author")
    )
    name = F.concat(F.lit("block-"), F.md5(F.concat_ws("\x1f", "user_id", "event_id")), F.lit("-"))
    sides = F.array(
        F.struct(F.col("user_id"), F.col("target_id"), F.concat(name, F.lit("0")).alias("event_id")),
        F.struct(
            F.col("target_id").alias("user_id"),
            F.col("user_id").alias("target_id"),
            F.concat(name, F.lit("1")).alias("event_id"),
        ),
    )
    ended = blocks.withColumn("_side", F.explode(sides)).withColumns(
        {
            **{name: F.col(f"_side.{name}") for name in ("user_id", "target_id", "event_id")},
            "kind": F.lit("follow"),
            "op": F.lit("remove"),
        }
    )
    key, of_block = ["user_id", "event_id"], F.lit(True).alias(_OF_BLOCK)
    marked = edges.join(ended.select(*key, of_block).distinct(), key, "left").fillna(False, [_OF_BLOCK])
    missing = ended.join(edges.select(*key), key, "left_anti").select(*edges.columns, of_block)
    return marked.unionByName(missing)


def valid_events(events: DataFrame, valid_stories: DataFrame, *, context: RunContext) -> DataFrame:
    """What users did, about stories that the lake knows; a clap without a number is one clap."""
    amounts = {
        one.amount: F.when(F.col("type") == one.name, F.coalesce(one.amount, F.lit(1))).otherwise(F.col(one.amount))
        for one in INTERACTIONS
        if one.amount
    }
    return once_story_is_known(judged(events, EVENTS, context), valid_stories).withColumns(amounts)


def once_story_is_known(events: DataFrame, stories: DataFrame) -> DataFrame:
    """An event counts from when both it and its story are known; unknown until then, and at all when that never comes."""
    first = stories.groupBy("story_id").agg(F.min("valid_from").alias("_known_from"))
    reason = F.when(F.col("_known_from").isNull(), F.lit(UNKNOWN_STORY))
    return (
        events.join(first, "story_id", "left")
        .withColumn("reason", F.coalesce("reason", reason))
        .withColumn("valid_from", F.greatest("valid_from", "_known_from"))
        .drop("_known_from")
    )


def valid_promotions(promotions: DataFrame, *, context: RunContext) -> DataFrame:
    """Promotions, each visible until it has ended. Scheduled ones count: they may start before the next snapshot."""
    return judged(promotions, PROMOTIONS, context).withColumn("valid_until", F.col("ends_at"))
