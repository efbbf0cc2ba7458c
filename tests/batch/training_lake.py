"""A lake for training, by hand: a few stories and events, and the features of two moments of the schedule, written as a batch leaves them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from batch.graph import RANKED_BY
from batch.run import RunReport, run
from batch.settings import BatchSettings
from features.lake_layout import partition_name
from features.registry import registered
from tests.batch.feature_lake import user, vector, write_dataset
from tests.lakes import Row, event, story, write_lake

FIRST, SECOND = datetime(2026, 1, 30, tzinfo=UTC), datetime(2026, 1, 31, tzinfo=UTC)
"""The schedule moments that have features."""
EARLY, LATER = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 2, 2, tzinfo=UTC)
"""As_ofs of training."""
SETTINGS = BatchSettings(training_days=4)
JOBS = ["valid_stories", "valid_edges", "valid_events", "valid_promotions", "training_examples"]


def at(hour: float, day: datetime = FIRST) -> datetime:
    """So many hours into the first day of the schedule."""
    return day + timedelta(hours=hour)


def values(entity: str, ident: str, *numbers: float) -> dict[str, Any]:
    """A row of an entity's features: the registered ones in their order."""
    key = "language" if entity == "language" else f"{entity}_id"
    return {key: ident} | {f.name: n for f, n in zip(registered(entity), numbers, strict=True)}


def follow(hour: float, op: str, target_type: str, target: str, user: str = "u") -> dict[str, Any]:
    row = {"event_id": f"{op}-{target}-{hour}", "user_id": user, "kind": "follow", "target_type": target_type}
    return row | {"target_id": target, "op": op, "occurred_at": at(hour)}


def shown(event_id: str, hour: float, story_id: str, **more: Any) -> dict[str, Any]:
    return event(more.pop("user", "u"), "impression", story_id, at(hour), event_id=event_id, **more)


STORIES: list[Row] = [
    story("a", at(-48), updated_at=at(-48), author_id="ann", publication_id="pub", topics=["x", "rare"], language="en"),
    story(
        "a", at(-48), updated_at=at(11), author_id="bob", topics=["x"], language="pt"
    ),  # moves to Bob, translated, at 11
    story("b", at(-48), author_id="bob", topics=[]),
    story("fresh", at(9), author_id="ann", topics=["x"], language="en"),  # no snapshot of the first day knows it
    story("stray", at(9)),  # nor this one, which has no author
]
EVENTS: list[Row] = [
    shown("too-early", -23.5, "a"),  # before the first schedule moment
    shown("within-lag", 0.5, "a"),  # a server may not have the first day's snapshot yet
    shown("first", 10, "a", request_id="r1", position=4, source="trending", propensity=0.25),
    shown("again", 12.5, "a", request_id="r2"),  # after the story moved, the follow and a read
    shown("unfollowed", 13.5, "a"),
    shown("of-fresh", 10, "fresh"),
    shown("of-stray", 10, "stray"),
    shown("newcomer", 10, "a", user="new"),
    shown("too-late", 25.5, "a"),  # its day has passed only at the second as_of
    event("u", "open", "a", at(12.6), event_id="o1", request_id="r1"),  # the first's, although the second was later
    event("u", "read", "a", at(12.7), event_id="o2"),  # says no request: the latest's
    event(
        "u", "clap", "a", at(13), event_id="o3", received_at=at(60)
    ),  # of `again`, but known only at the second as_of
    event("u", "hide", "a", at(37.6), event_id="o4"),  # a day and a bit after `unfollowed`; within a day of `too-late`
    event("u", "read", "b", at(12), event_id="r-b"),
    event("u", "read", "late", at(9.5), event_id="r-l", received_at=at(40)),
]
EDGES: list[Row] = [
    follow(-100, "add", "topic", "x"),
    follow(-100, "add", "topic", "unheard"),
    follow(12, "add", "author", "bob"),
    follow(13, "remove", "author", "bob"),
    follow(13, "add", "publication", "pub"),
]
AT_FIRST: dict[str, list[Row]] = {
    "story_features": [
        values("story", "a", 0.2, 0.4, 1.5, 0.5, 0.25, 2.0, 0.75),
        values("story", "b", 0.1, 0.3, 0, 0, 0, 0, 0),
    ],
    "author_features": [values("author", "ann", 0.15, 0.35, 2.0), values("author", "bob", 0.05, 0.25, 1.0)],
    "publication_features": [values("publication", "pub", 0.5, 0.6)],
    "topic_features": [values("topic", "x", 0.3, 0.7)],
    "language_features": [values("language", "en", 0.35, 0.55)],
    "user_profiles": [user("u", seen=[{"story_id": "a", "times": 3}], read=[], follow_topics=["x", "unheard"])],
    "user_author_affinity": [{"user_id": "u", "author_id": "ann", "affinity": 0.5}],
    "user_topic_affinity": [
        {"user_id": "u", "topic_id": "x", "affinity": 0.75, "engagement": 3.0, "impressions": 8.0},
        {"user_id": "u", "topic_id": "unheard", "affinity": -0.5, "engagement": -1.0, "impressions": 4.0},
    ],
    "als_vectors": [vector("user", "u", 1.0, 2.0), vector("story", "a", 3.0, 4.0), vector("story", "fresh", 9.0, 9.0)],
    "similar_stories": [{"story_id": "b", "rank": 0, "similar_story_id": "a", "similarity": 0.5}],
}
AT_SECOND: dict[str, list[Row]] = {"story_features": [values("story", "a", 0.9, 0.9, 9, 9, 9, 9, 9)]}


def write_training_lake(lake: Path, **raw: list[Row]) -> Path:
    """The raw datasets above, or others in their place, and the features of both moments."""
    write_lake(lake, **({"stories": [*STORIES, story("late", at(-48))], "events": EVENTS, "edges": EDGES} | raw))
    for moment, rows in ((FIRST, AT_FIRST), (SECOND, AT_SECOND)):
        for name in RANKED_BY:
            write_dataset(lake, name, rows.get(name, []), moment)
    return lake


def train(lake: Path, spark: SparkSession, *as_ofs: datetime) -> RunReport:
    """Validates the raw lake and makes the examples of `as_ofs` in one pass."""
    return run(lake, as_ofs, now=LATER, settings=SETTINGS, jobs=JOBS, spark=spark)


def examples(lake: Path, as_of: datetime) -> pa.Table:
    """What was written for one as_of of training."""
    return pq.read_table(lake / "features" / "training_examples" / partition_name(as_of), partitioning=None)
