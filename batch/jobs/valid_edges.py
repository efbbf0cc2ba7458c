"""The log of follows, mutes and blocks: checked, deduplicated, each change with the interval in which it is the latest."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from batch.point_in_time import Context
from batch.validation import judged
from features.raw_datasets import EDGES

EDGE = ("user_id", "kind", "target_type", "target_id")


def valid_edges(edges: DataFrame, *, context: Context) -> DataFrame:
    """Every known row, with `reason` where it is bad."""
    return until_next_change(judged(edges, EDGES, context))


def until_next_change(edges: DataFrame) -> DataFrame:
    """A good change ends where the next one of the same edge begins, or where it is found to conflict.

    Of an `add` and a `remove` at one instant the one that shows less counts, the end of a follow but the beginning of a mute
    or block: nobody is shown what they may have just refused.
    """
    shows_less = F.col("op") == F.when(F.col("kind") == "follow", "remove").otherwise("add")
    changes = Window.partitionBy(*EDGE, F.col("reason").isNull()).orderBy("occurred_at", shows_less, "event_id")
    return edges.withColumn("valid_until", F.least("valid_until", F.lead("occurred_at").over(changes)))
