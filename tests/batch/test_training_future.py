"""The training set does not see the future, and the test would see it if it did."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from batch.example_building import cutoff
from batch.graph import BY_NAME, RANKED_BY
from batch.io import read_derived
from batch.jobs.training_examples import training_examples
from batch.point_in_time import RunContext, moment
from batch.run import run, with_moments
from features.datasets import dataset
from features.formulas import GAP_MOST_H
from features.registry import FEATURES
from tests.batch.feature_lake import user, vector, write_dataset
from tests.batch.training_lake import EARLY, FIRST, JOBS, LATER, SECOND, SETTINGS, at, values
from tests.lakes import Row, event, story, write_lake

pytestmark = pytest.mark.usefixtures("one_partition")


class TestTheFuture:
    """That a story is a hit is planted, after it was shown, in every place from which features come."""

    def test_is_not_in_the_training_set(self, hit_lake: Path, spark: SparkSession) -> None:
        assert telling(hit_lake, spark) == set()

    def test_is_all_over_it_with_the_filter_switched_off(
        self, hit_lake: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Guards the test above: were nothing planted, or were it in a place where nobody looks, it would pass."""
        monkeypatch.setattr(cutoff, "knows_before", lambda shown_at: moment(EARLY))
        assert telling(hit_lake, spark) == {f.name for f in FEATURES} - {"recency"}


HIT = 0.5
"""Before, every feature of the hit is far below this, afterwards above."""


@pytest.fixture(scope="module")
def hit_lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    about: Row = {"author_id": "star", "publication_id": "pub", "topics": ["x"], "language": "en"}
    lake = write_lake(
        tmp_path_factory.mktemp("hit"),
        stories=[story("hit", at(-48), **about), story("twin", at(-48), **about)],
        events=[
            event("u", "impression", "hit", at(10), event_id="impressions"),
            event("u", "read", "twin", at(10), event_id="at-the-same-moment"),
            event("u", "read", "twin", at(9), event_id="late", received_at=at(11)),
            *(event(f"p{n}", kind, "hit", at(11)) for n in range(9) for kind in ("open", "read", "clap")),
        ],
        edges=[
            {**row, "user_id": "u", "kind": "follow", "op": "add", "event_id": row["target_id"], "occurred_at": at(10)}
            for row in (
                {"target_type": "author", "target_id": "star"},
                {"target_type": "publication", "target_id": "pub"},
                {"target_type": "topic", "target_id": "x"},
            )
        ],
    )
    for day, level in ((FIRST, 0.01), (SECOND, 0.9)):
        hot = level > HIT
        both = {
            "story_features": [values("story", s, *[level] * 7) for s in ("hit", "twin")],
            "author_features": [values("author", "star", *[level] * 3)],
            "publication_features": [values("publication", "pub", *[level] * 2)],
            "topic_features": [values("topic", "x", *[level] * 2)],
            "language_features": [values("language", "en", *[level] * 2)],
            "user_author_affinity": [{"user_id": "u", "author_id": "star", "affinity": level}],
            "user_publication_affinity": [{"user_id": "u", "publication_id": "pub", "affinity": level}],
            "user_topic_affinity": [
                {"user_id": "u", "topic_id": "x", "affinity": level, "engagement": level, "impressions": level}
            ],
            "als_vectors": [vector("user", "u", level), vector("story", "hit", level)],
            # A neighbour already, but of a story that nobody knew to be read.
            "similar_stories": [{"story_id": "twin", "rank": 0, "similar_story_id": "hit", "similarity": 0.9}],
            "top_stories": [],
            "user_profiles": [
                user(
                    "u",
                    seen=[{"story_id": "hit", "times": 5}] if hot else [],
                    read=[{"story_id": "twin", "at": at(10)}] if hot else [],
                    follow_authors=["star"] if hot else [],
                    follow_publications=["pub"] if hot else [],
                    follow_topics=["x"] if hot else [],
                )
            ],
        }
        for name in RANKED_BY:
            write_dataset(lake, name, both[name], day)
    run(lake, [LATER], now=LATER, settings=SETTINGS, jobs=JOBS[:-1], spark=spark)
    return lake


def telling(lake: Path, spark: SparkSession) -> set[str]:
    """Features of the one impression that know of the hit. By the job alone: a run would refuse features from after it."""
    job = BY_NAME["training_examples"]
    context = with_moments(job, lake, RunContext((LATER,), LATER, SETTINGS))  # among them one after the hit, too
    inputs = {
        name: read_derived(spark, lake, dataset(name), (LATER,)).drop("as_of")
        for name in job.reads
        if name not in job.looks_back
    }
    [example] = training_examples(**inputs, context=context).collect()
    told = {f.name for f in FEATURES if example[f.name] > HIT and f.name not in ("recency", "read_gap_h")}
    return told | ({"read_gap_h"} if example["read_gap_h"] < GAP_MOST_H else set())  # it falls with the first read
