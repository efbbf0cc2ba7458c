"""What arrived late is seen from its arrival on, and an older version never takes the place of a newer one."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from batch.io import read_raw
from batch.jobs.validated import valid_edges, valid_stories
from batch.point_in_time import RunContext, ever_in_force, in_force, visible
from batch.settings import BatchSettings
from features.datasets import dataset
from tests.lakes import NOON, Row, ago, story, write_lake

MORNING = NOON - timedelta(hours=4)
CONTEXT = RunContext((MORNING, NOON), NOON + timedelta(minutes=1), BatchSettings())


def edge(user: str, kind: str, op: str, days: float, received_days: float | None = None, **more: str) -> Row:
    return {
        "user_id": user,
        "kind": kind,
        "op": op,
        "target_type": "author",
        "target_id": "a",
        "occurred_at": ago(days=days),
        "received_at": None if received_days is None else ago(days=received_days),
        **more,
    }


@pytest.mark.usefixtures("one_partition")
def test_the_late_and_the_early(spark: SparkSession, tmp_path: Path) -> None:
    hour = 1 / 24
    edges = [
        edge("late unblock", "block", "add", 5),
        edge("late unblock", "block", "remove", 9, 1),
        edge("slow block", "block", "remove", 2, 2),
        edge("slow block", "block", "add", 3, 1),
        edge("equal", "follow", "remove", 2, 2),
        edge("equal", "follow", "add", 2, 1),
        edge("seen at noon", "follow", "add", 9, hour),
        edge("ended by a block", "follow", "add", 5),
        edge("a", "block", "add", 2, 2, target_id="ended by a block"),
        edge("a", "block", "remove", 1, 1, target_id="ended by a block"),
    ]
    versions = [
        story("s", title="newer", updated_at=ago(days=2), received_at=ago(days=2)),
        story("s", title="older, late", updated_at=ago(days=3), received_at=ago(days=1)),
        story("t", title="older", updated_at=ago(days=3), received_at=ago(days=3)),
        story("t", title="newer at noon", updated_at=ago(days=2), received_at=ago(hours=1)),
        story("u", title="of one instant, older", updated_at=ago(days=2), received_at=ago(days=1)),
        story("u", title="of one instant, newer", updated_at=ago(days=1), received_at=ago(days=1)),
    ]
    write_lake(tmp_path, edges=edges, stories=versions)
    raw = {name: read_raw(spark, tmp_path, dataset(name)) for name in ("edges", "stories")}
    held = in_force(valid_edges(raw["edges"], context=CONTEXT), CONTEXT).select("as_of", "user_id", "kind").collect()
    at_noon = sorted((row["user_id"], row["kind"]) for row in held if row["as_of"].hour == NOON.hour)
    assert at_noon == [
        ("equal", "follow"),
        ("late unblock", "block"),
        ("seen at noon", "follow"),
        ("slow block", "block"),
    ]
    assert "seen at noon" not in {row["user_id"] for row in held if row["as_of"].hour == MORNING.hour}
    stories = valid_stories(raw["stories"], context=CONTEXT).persist()
    seen = visible(stories, CONTEXT).orderBy("as_of", "story_id").collect()
    newest = "of one instant, newer"
    assert [row["title"] for row in seen] == ["newer", "older", newest, "newer", "newer at noon", newest]
    versions_in_force = ever_in_force(stories).orderBy("story_id", "valid_from").collect()
    assert [row["title"] for row in versions_in_force] == ["newer", "older", "newer at noon", newest]
