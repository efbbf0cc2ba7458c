"""The log of follows, mutes and blocks: checked, deduplicated, each change with the interval in which it is the latest."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from batch.changes import at_once, shows_less, until_next_change
from batch.point_in_time import RunContext
from batch.validation import judged
from features.raw_datasets import EDGE_KINDS, EDGES

EDGE = ("user_id", "kind", "target_type", "target_id")
_OF_BLOCK = "_of_block"
"""Column: the row is the end of a follow that a block brings about, and so applies on arrival."""


def valid_edges(edges: DataFrame, *, context: RunContext) -> DataFrame:
    """Every known row, with `reason` where it is bad, and the ends of follows that blocks bring about."""
    known = with_ended_follows(judged(edges, EDGES, context))
    on_arrival = at_once(EDGE_KINDS) | F.col(_OF_BLOCK)
    return until_next_change(known, EDGE, "occurred_at", shows_less(), "event_id", at_once=on_arrival).drop(_OF_BLOCK)


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
