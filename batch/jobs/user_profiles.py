"""What is known of a user: account, edges in force, what was read, hidden, reported and shown."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.group import GroupedData

from batch.changes import APPLIES, at_once, of_types, shows_less, with_applies
from batch.point_in_time import RunContext, newest_first, visible
from features.choices import STORY_CHOICES
from features.interactions import LIKING, REVERSIBLE
from features.raw_datasets import EDGE_KINDS, TARGET_TYPES

READ_KEPT = 2000
"""Years of daily reading; a profile stays under 40 kB."""
SEEN_KEPT = 1000
"""Twice what a user is delivered in the rolling window of a busy timeline."""
ENDED_KEPT = 1000
"""Follows of one type of target that ended: an older `follow` must be as late as a thousand unfollows to count again."""
BLOCKERS_KEPT = 50_000
"""Users who block one: 800 kB of a profile; the block still holds for each of those who made one."""
NO_IDS = "array<string>"


def user_profiles(
    valid_users: DataFrame, valid_edges: DataFrame, valid_events: DataFrame, *, context: RunContext
) -> DataFrame:
    """One row per as_of and user who has an account, an edge or an event by then, or is blocked by someone."""
    events, edges = visible(valid_events, context), visible(valid_edges, context)
    since = F.coalesce("updated_at", "created_at").alias("updated_at")
    profiles = visible(valid_users, context).select("as_of", "user_id", "created_at", since, "languages", "is_member")
    for part in (edge_lists(edges), blockers(edges), histories(events), refused_stories(events)):
        profiles = profiles.join(part, ["as_of", "user_id"], "full")
    return with_defaults(profiles)


def edge_lists(edges: DataFrame) -> DataFrame:
    """as_of, user_id and, for each kind and target, the sorted ids of the edges in force and when each was changed; of
    follows also those that ended. Whose edges are all undone has empty lists."""
    lists = {}
    for kind in EDGE_KINDS:
        for target in TARGET_TYPES:
            this = (F.col("kind") == kind) & (F.col("target_type") == target)
            lists[f"{kind}_{target}s"] = _changed("target_id", this & (F.col("op") == "add"))
    for target in TARGET_TYPES:
        ended = (F.col("kind") == "follow") & (F.col("target_type") == target) & (F.col("op") == "remove")
        lists[f"unfollow_{target}s"] = _changed("target_id", ended, ENDED_KEPT)
    return _with_times(edges.groupBy("as_of", "user_id"), lists)


def blockers(edges: DataFrame) -> DataFrame:
    """as_of, user_id, blocked_by, blocked_by_at."""
    blocks = edges.where((F.col("kind") == "block") & (F.col("target_type") == "author") & (F.col("op") == "add"))
    named = blocks.select("as_of", F.col("target_id").alias("user_id"), F.col("user_id").alias("by"), "occurred_at")
    return _with_times(named.groupBy("as_of", "user_id"), {"blocked_by": _changed("by", F.lit(True), BLOCKERS_KEPT)})


def histories(events: DataFrame) -> DataFrame:
    """as_of, user_id, read, seen."""
    counted = {"reads": ("read",), "liked": LIKING, "times": ("impression",)}
    per_story = events.groupBy("as_of", "user_id", "story_id").agg(
        F.max(_at("read")).alias("read_at"),
        F.max(_at("impression")).alias("shown_at"),
        *(F.count_if(F.col("type").isin(*kinds)).alias(name) for name, kinds in counted.items()),
    )
    unopened = (F.col("times") > 0) & (F.col("liked") == 0)
    return per_story.groupBy("as_of", "user_id").agg(
        _newest(F.col("read_at"), F.col("reads") > 0, READ_KEPT, F.col("read_at").alias("at")).alias("read"),
        _newest(F.col("shown_at"), unopened, SEEN_KEPT, F.col("times").cast("int").alias("times")).alias("seen"),
    )


def refused_stories(events: DataFrame) -> DataFrame:
    """as_of, user_id and the stories that each REVERSIBLE interaction is in force for, with the times: what was not taken back since.

    An undated one holds from when it was received, so that the user can take it back.
    """
    since = F.coalesce("occurred_at", "received_at")
    choices = events.where(F.col("type").isin(*STORY_CHOICES)).withColumns(
        {"kind": of_types(STORY_CHOICES, 0), "op": of_types(STORY_CHOICES, 1), "occurred_at": since}
    )
    edge = ("as_of", "user_id", "story_id", "kind")
    order = (F.col("received_at"), F.col("occurred_at"), shows_less(), F.col("event_id"))
    applied = with_applies(choices, edge, order, "occurred_at", at_once(tuple(one.name for one in REVERSIBLE))).where(
        APPLIES
    )
    place = F.struct(*(column.alias(f"_{number}") for number, column in enumerate(order)))
    last = applied.groupBy(*edge).agg(F.max_by(F.struct("op", "occurred_at"), place).alias("last"))
    held = last.where(F.col("last.op") == "add").withColumn("occurred_at", F.col("last.occurred_at"))
    lists = {one.held: _changed("story_id", F.col("kind") == one.name) for one in REVERSIBLE}
    return _with_times(held.groupBy("as_of", "user_id"), lists)


def with_defaults(profiles: DataFrame) -> DataFrame:
    """Nothing known is an empty list, and not a member."""
    lists = {f"{kind}_{target}s": NO_IDS for kind in (*EDGE_KINDS, "unfollow") for target in TARGET_TYPES}
    lists |= {"blocked_by": NO_IDS} | {one.held: NO_IDS for one in REVERSIBLE}
    lists |= {f"{name}_at": "array<timestamp>" for name in lists} | {"languages": NO_IDS}
    lists |= {
        "read": "array<struct<story_id: string, at: timestamp>>",
        "seen": "array<struct<story_id: string, times: int>>",
    }
    filled = {name: F.coalesce(F.col(name), F.array().cast(kind)) for name, kind in lists.items()}
    return profiles.withColumns({**filled, "is_member": F.coalesce("is_member", F.lit(False))})


def _at(kind: str) -> Column:
    return F.when(F.col("type") == kind, F.col("occurred_at"))


def _changed(ident: str, condition: Column, kept: int | None = None) -> Column:
    """Sorted structs (id, at) of the rows where `condition` holds; the latest `kept`."""
    found = F.collect_set(F.when(condition, F.struct(F.col(ident).alias("id"), F.col("occurred_at").alias("at"))))
    if kept is None:
        return F.array_sort(found)
    by_time = F.transform(found, lambda e: F.struct((-F.unix_micros(e["at"])).alias("order"), e["id"], e["at"]))
    return F.array_sort(F.transform(F.slice(F.array_sort(by_time), 1, kept), lambda e: e.dropFields("order")))


def _with_times(groups: GroupedData, lists: dict[str, Column]) -> DataFrame:
    """The lists of structs as two lists each, of ids and of times."""
    found = groups.agg(*(column.alias(name) for name, column in lists.items()))
    times = {f"{name}_at": F.transform(F.col(name), lambda e: e["at"]) for name in lists}
    return found.withColumns(times).withColumns({name: F.transform(F.col(name), lambda e: e["id"]) for name in lists})


def _newest(at: Column, condition: Column, kept: int, value: Column) -> Column:
    """Up to `kept` of struct(story_id, value), newest first; ties in the order of ids."""
    entry = F.struct(*newest_first(at, "user_id", "story_id"), F.col("story_id"), value)
    first = F.slice(F.array_sort(F.collect_list(F.when(condition, entry))), 1, kept)
    return F.transform(first, lambda e: e.dropFields("order", "drawn"))
