"""Why a row of the raw layer is refused, beside the declared checks; Spark and DuckDB judge by the same words and limits."""

from __future__ import annotations

from collections.abc import Mapping

from features.schema import Dataset

NUMBER_OUT_OF_RANGE = "number_out_of_range"
"""A stored number is too large for the declared type."""
TEXT_NOT_UTF8 = "text_not_utf8"
"""Bytes without the mark of text are no UTF-8."""
IN_THE_FUTURE = "in_the_future"
"""Dated later than the caller's clock plus what clocks may differ by."""
CONFLICTING = "conflicting_duplicate"
"""Equal in grain, different in content: nobody can tell which is right, so none is used."""
REPEATED = "exact_duplicate"
"""Equal in grain and content (a delivery repeated): one is kept, the others are dropped and counted."""
UNKNOWN_STORY = "unknown_story"
"""An event about a story that the lake does not know."""
UNKNOWN_STORY_LIMIT = 0.5
"""Share of events that may be about unknown stories. Streams race tables, so some are normal and do not count as bad;
when most are, the two were not written with the same ids."""


def content_columns(dataset: Dataset) -> list[str]:
    """The content of a row. The time of receipt is no part of it: a repeated delivery has the same content."""
    ignored = {*dataset.partition_by, *dataset.grain, "received_at"}
    return [name for name in dataset.names if name not in ignored]


def too_many(dataset: Dataset, rows: int, refused: Mapping[str, int]) -> tuple[int, float] | None:
    """How many of `rows` are refused and the share that may be, where they are more than that. `refused`: reason → rows."""
    unknown = refused.get(UNKNOWN_STORY, 0)
    bad = sum(refused.values()) - unknown - refused.get(REPEATED, 0)
    if bad > dataset.max_bad_share * rows:
        return bad, dataset.max_bad_share
    return (unknown, UNKNOWN_STORY_LIMIT) if unknown > UNKNOWN_STORY_LIMIT * rows else None
