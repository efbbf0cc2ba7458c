"""What is known of a person: account, edges in force, what was read, hidden, reported and shown."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from batch.engagement import LIKING
from batch.point_in_time import Context, visible
from features.raw_datasets import EDGE_KINDS, TARGET_TYPES

READ_KEPT = 2000
"""Years of daily reading; a profile stays under 40 kB."""
SEEN_KEPT = 1000
"""Twice what a person is delivered in the rolling window of a busy timeline."""
NO_IDS = "array<string>"


def user_profiles(
    valid_users: DataFrame, valid_edges: DataFrame, valid_events: DataFrame, *, context: Context
) -> DataFrame:
    """One row per as_of and person who has an account, an edge or an event by then."""
    history = histories(visible(valid_events, context))
    accounts = visible(valid_users, context).select("as_of", "user_id", "created_at", "languages", "is_member")
    both = accounts.join(edge_lists(valid_edges, context), ["as_of", "user_id"], "full")
    return with_defaults(both.join(history, ["as_of", "user_id"], "full"))


def edge_lists(edges: DataFrame, context: Context) -> DataFrame:
    """as_of, user_id and a sorted list of ids for each kind and target. Whose edges are all undone has empty lists."""
    changed = visible(edges, context)
    holds = F.col("op") == "add"
    lists = [
        F.array_sort(
            F.collect_set(
                F.when(holds & (F.col("kind") == kind) & (F.col("target_type") == target), F.col("target_id"))
            )
        ).alias(f"{kind}_{target}s")
        for kind in EDGE_KINDS
        for target in TARGET_TYPES
    ]
    return changed.groupBy("as_of", "user_id").agg(*lists)


def histories(events: DataFrame) -> DataFrame:
    """as_of, user_id, read, hidden, reported, seen."""
    per_story = events.groupBy("as_of", "user_id", "story_id").agg(
        F.max(_when("read")).alias("read_at"),
        F.max(_when("hide")).alias("hidden_at"),
        F.max(_when("report")).alias("reported_at"),
        F.max(_when(*LIKING)).alias("opened_at"),
        F.max(_when("impression")).alias("shown_at"),
        F.count(_when("impression")).cast("int").alias("times"),
    )
    vain = F.col("shown_at").isNotNull() & F.col("opened_at").isNull()
    return per_story.groupBy("as_of", "user_id").agg(
        _newest(F.col("read_at"), F.col("read_at").isNotNull(), READ_KEPT, F.col("read_at").alias("at")).alias("read"),
        _ids("hidden_at").alias("hidden"),
        _ids("reported_at").alias("reported"),
        _newest(F.col("shown_at"), vain, SEEN_KEPT, F.col("times")).alias("seen"),
    )


def with_defaults(profiles: DataFrame) -> DataFrame:
    """Nothing known is an empty list, and not a member."""
    lists = {f"{kind}_{target}s": NO_IDS for kind in EDGE_KINDS for target in TARGET_TYPES}
    lists |= {"languages": NO_IDS, "hidden": NO_IDS, "reported": NO_IDS}
    lists |= {
        "read": "array<struct<story_id: string, at: timestamp>>",
        "seen": "array<struct<story_id: string, times: int>>",
    }
    filled = {name: F.coalesce(F.col(name), F.array().cast(kind)) for name, kind in lists.items()}
    return profiles.withColumns({**filled, "is_member": F.coalesce("is_member", F.lit(False))})


def _when(*kinds: str) -> Column:
    return F.when(F.col("type").isin(*kinds), F.col("occurred_at"))


def _ids(marker: str) -> Column:
    return F.array_sort(F.collect_list(F.when(F.col(marker).isNotNull(), F.col("story_id"))))


def _newest(at: Column, condition: Column, kept: int, value: Column) -> Column:
    """Up to `kept` of struct(story_id, value), newest first; ties in the order of ids."""
    entry = F.struct((-F.unix_micros(at)).alias("order"), F.col("story_id"), value)
    first = F.slice(F.array_sort(F.collect_list(F.when(condition, entry))), 1, kept)
    return F.transform(first, lambda e: e.dropFields("order"))
