"""Examples worked out by hand: what was shown, what came of it, and what a server knew just before, but nothing from later."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from batch.graph import BY_NAME
from batch.grid import looking_back
from batch.io import read_derived
from batch.jobs.training_examples import training_examples
from batch.point_in_time import Context, moment
from batch.run import RunReport, run
from batch.settings import BatchSettings
from batch.training import horizon, negatives
from features import registry
from features.datasets import dataset
from features.duckdb_views import partition_name
from features.registry import FEATURES
from tests.batch.feature_lake import person, vector, write_dataset
from tests.batch.training_lake import FIRST, GRID_FEATURES, SECOND, at, values, write_training_lake
from tests.lakes import Row, event, story, write_lake

EARLY, LATER = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 2, 2, tzinfo=UTC)
"""As_ofs of training."""
SETTINGS = BatchSettings(training_days=4)
JOBS = ["valid_stories", "valid_edges", "valid_events", "training_examples"]


@pytest.fixture(scope="module", autouse=True)
def one_partition(spark: SparkSession) -> Iterator[None]:
    """A handful of rows: more partitions would only be more tasks."""
    before = spark.conf.get("spark.sql.shuffle.partitions")
    spark.conf.set("spark.sql.shuffle.partitions", "1")
    yield
    spark.conf.set("spark.sql.shuffle.partitions", str(before))


def train(lake: Path, spark: SparkSession, *as_ofs: datetime) -> RunReport:
    return run(lake, as_ofs, now=LATER, settings=SETTINGS, jobs=JOBS, spark=spark)


def table(lake: Path, as_of: datetime) -> pa.Table:
    return pq.read_table(lake / "features" / "training_examples" / partition_name(as_of), partitioning=None)


def rows(lake: Path, as_of: datetime) -> dict[str, dict[str, Any]]:
    """event_id → the example."""
    return {row["event_id"]: row for row in table(lake, as_of).to_pylist()}


@pytest.fixture(scope="module")
def together(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunReport]:
    """Both as_ofs in one pass."""
    lake = write_training_lake(tmp_path_factory.mktemp("together"))
    return lake, train(lake, spark, EARLY, LATER)


@pytest.fixture(scope="module")
def examples(together: tuple[Path, RunReport]) -> dict[str, dict[str, Any]]:
    return rows(together[0], EARLY)


def told(example: dict[str, Any], *names: str) -> list[float]:
    return [example[name] for name in names]


def near(*numbers: float) -> Any:
    return pytest.approx(list(numbers), rel=1e-6)


def test_an_impression_with_features_and_a_passed_window_is_an_example(together: tuple[Path, RunReport]) -> None:
    lake, report = together
    early = {"first", "again", "unfollowed", "of-fresh", "of-stray", "newcomer"}
    assert rows(lake, EARLY).keys() == early  # `too-early` and `within-lag` belong to a moment that was not written
    assert rows(lake, LATER).keys() == {*early, "too-late"}
    assert any("grid moments are not written" in said for said in report.jobs[-1].warnings)


def test_an_example_tells_what_was_logged(examples: dict[str, dict[str, Any]]) -> None:
    first = examples["first"]
    assert told(first, "user_id", "story_id", "request_id", "author_id", "position", "source") == [
        "u", "a", "r1", "ann", 4, "trending"
    ]  # fmt: skip
    assert told(first, "propensity", "weight", "shown_at", "features_as_of") == [0.25, 1.0, at(10), FIRST]


def test_features_are_those_of_the_latest_moment_whose_snapshot_is_out(together: tuple[Path, RunReport]) -> None:
    late = rows(together[0], LATER)
    assert told(late["first"], "features_as_of", "story_popularity") == [FIRST, 1.5]
    assert told(late["too-late"], "features_as_of", "story_popularity") == [SECOND, 9.0]


def test_an_outcome_belongs_to_its_request_or_to_the_latest_impression(together: tuple[Path, RunReport]) -> None:
    early, later = rows(together[0], EARLY), rows(together[0], LATER)
    labels = ("open", "read", "applause", "rejection")
    assert told(early["first"], *labels) == [True, False, False, False]
    assert told(early["again"], *labels) == [True, True, False, False]  # a read is an open, too
    assert told(later["again"], *labels) == [True, True, True, False]  # the clap has arrived
    assert told(early["unfollowed"], *labels) == [False] * 4
    assert told(later["too-late"], *labels) == [False, False, False, True]


def test_features_of_story_author_publication_and_topics_are_the_snapshots(examples: dict[str, dict[str, Any]]) -> None:
    first = examples["first"]
    assert told(first, "story_open_rate", "story_read_rate", "story_momentum") == near(0.2, 0.4, 0.5)
    assert told(first, "author_open_rate", "author_followers", "publication_open_rate") == near(0.15, 2.0, 0.5)
    # Of the topics x and `rare`, which no snapshot knows and which so has the defaults: the mean.
    assert told(first, "topic_open_rate", "topic_read_rate") == near((0.3 + 0.1) / 2, (0.7 + 0.3) / 2)


def test_a_changed_story_keeps_what_was_learned_of_it(examples: dict[str, dict[str, Any]]) -> None:
    again = examples["again"]
    assert again["author_id"] == "bob"
    assert told(again, "story_open_rate", "author_open_rate", "topic_open_rate") == near(0.2, 0.05, 0.3)
    assert again["publication_open_rate"] == np.float32(
        registry.BY_NAME["publication_open_rate"].default
    )  # it has left it


def test_a_fresh_story_has_its_authors_rates_and_no_vector(examples: dict[str, dict[str, Any]]) -> None:
    fresh, stray = examples["of-fresh"], examples["of-stray"]
    assert told(fresh, "story_open_rate", "story_read_rate", "story_popularity", "taste") == near(0.15, 0.35, 0, 0)
    assert told(stray, "story_open_rate", "story_read_rate", "author_open_rate") == near(0.1, 0.3, 0.1)
    assert fresh["recency"] == pytest.approx(0.5 ** (1 / 24))  # an hour old


def test_features_of_person_and_story(examples: dict[str, dict[str, Any]]) -> None:
    first = examples["first"]
    assert told(first, "taste", "times_seen") == near(1 * 3 + 2 * 4, math.log1p(3))
    assert told(first, "author_affinity", "topic_affinity", "publication_affinity") == near(0.5, 0.75 / 2, 0)
    assert first["recency"] == pytest.approx(0.5 ** ((48 + 10) / 24), rel=1e-6)


def test_follows_are_those_in_force_and_reads_those_received(examples: dict[str, dict[str, Any]]) -> None:
    names = ("follows_author", "follows_publication", "follows_topics", "similarity")
    assert told(examples["first"], *names) == [0, 0, 0.5, 0]  # x of x and `rare`; b is not read yet
    assert told(examples["again"], *names) == [1, 0, 1, 0.5]  # follows Bob, and has read b, of which a is a neighbour
    assert told(examples["unfollowed"], *names) == [0, 0, 1, 0.5]  # the story is in no publication any more


def test_a_newcomer_has_defaults(examples: dict[str, dict[str, Any]]) -> None:
    mine = [f for f in FEATURES if f.entity == "user_story" and f.name != "recency"]
    assert told(examples["newcomer"], *(f.name for f in mine)) == [f.default for f in mine]


def test_one_as_of_alone_and_both_together_give_the_same_bytes(
    together: tuple[Path, RunReport], spark: SparkSession, tmp_path: Path
) -> None:
    alone = write_training_lake(tmp_path)
    train(alone, spark, EARLY)
    assert table(alone, EARLY).equals(table(together[0], EARLY))


class TestTheFuture:
    """That a story is a hit is planted, after it was shown, in every place from which features come."""

    def test_is_not_in_the_training_set(self, hit_lake: Path, spark: SparkSession) -> None:
        assert telling(hit_lake, spark) == set()

    def test_is_all_over_it_with_the_filter_switched_off(
        self, hit_lake: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Guards the test above: were nothing planted, or were it in a place where nobody looks, it would pass."""
        monkeypatch.setattr(horizon, "knows_before", lambda shown_at: moment(EARLY))
        assert telling(hit_lake, spark) == {f.name for f in FEATURES} - {"recency"}


HIT = 0.5
"""Before, every feature of the hit is far below this, afterwards above."""


@pytest.fixture(scope="module")
def hit_lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    about: Row = {"author_id": "star", "publication_id": "pub", "topics": ["x"]}
    lake = write_lake(
        tmp_path_factory.mktemp("hit"),
        stories=[story("hit", at(-48), **about), story("twin", at(-48), **about)],
        events=[
            event("u", "impression", "hit", at(10), event_id="shown"),
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
            "story_features": [values("story", s, *[level] * 5) for s in ("hit", "twin")],
            "author_features": [values("author", "star", *[level] * 3)],
            "publication_features": [values("publication", "pub", *[level] * 2)],
            "topic_features": [values("topic", "x", *[level] * 2)],
            "user_author_affinity": [{"user_id": "u", "author_id": "star", "affinity": level}],
            "user_publication_affinity": [{"user_id": "u", "publication_id": "pub", "affinity": level}],
            "user_topic_affinity": [{"user_id": "u", "topic_id": "x", "affinity": level}],
            "als_vectors": [vector("user", "u", level), vector("story", "hit", level)],
            # A neighbour already, but of a story that nobody knew to be read.
            "similar_stories": [{"story_id": "twin", "rank": 0, "similar_story_id": "hit", "similarity": 0.9}],
            "user_profiles": [
                person(
                    "u",
                    seen=[{"story_id": "hit", "times": 5}] if hot else [],
                    read=[{"story_id": "twin", "at": at(10)}] if hot else [],
                )
            ],
        }
        for name in GRID_FEATURES:
            write_dataset(lake, name, both[name], day)
    run(lake, [EARLY], now=LATER, settings=SETTINGS, jobs=JOBS[:3], spark=spark)
    return lake


def telling(lake: Path, spark: SparkSession) -> set[str]:
    """Features of the one impression that know of the hit. By the job alone: a run would refuse features from after it."""
    job = BY_NAME["training_examples"]
    context = looking_back(job, lake, Context((EARLY,), LATER, SETTINGS))
    inputs = {
        name: read_derived(spark, lake, dataset(name), (EARLY,)).drop("as_of")
        if BY_NAME[name].validates
        else read_derived(spark, lake, dataset(name), context.grid)
        for name in job.reads
    }
    [example] = training_examples(**inputs, context=context).collect()
    return {f.name for f in FEATURES if example[f.name] > HIT and f.name != "recency"}


class TestALakeWithoutImpressions:
    def test_has_each_first_read_as_a_positive(self, reads: list[dict[str, Any]]) -> None:
        positives = [row for row in reads if row["open"]]
        assert {row["event_id"] for row in positives} == {f"e{n}" for n in range(8)}  # not the one read again
        assert all(
            row["read"] and row["weight"] == 1 and row["shown_at"] == at(2 + READ_AT[row["event_id"]])
            for row in positives
        )

    def test_has_for_each_as_many_stories_that_could_have_been_read(self, reads: list[dict[str, Any]]) -> None:
        for number in range(8):
            drawn = [row for row in reads if row["event_id"].startswith(f"e{number}-")]
            assert len(drawn) == SETTINGS.training_negatives
            assert len({row["story_id"] for row in drawn}) == len(drawn)
            assert not any(row["open"] or row["read"] for row in drawn)
            assert {row["request_id"] for row in drawn} == {f"read-e{number}"}
            assert sum(row["weight"] for row in drawn) == pytest.approx(9)  # one in ten of the weight is read
            hour = READ_AT[f"e{number}"]
            stories = {row["story_id"] for row in drawn}
            assert stories <= {f"s{n}" for n in range(OLD + hour + 2)}, "published by then"
            assert not stories & {f"s{n}" for n in range(8)}, "never read by the person, also not later that day"
            newest = {row["story_id"] for row in drawn if "-newest-" in row["event_id"]}
            assert len(newest) == 2
            assert newest <= {f"s{n}" for n in range(OLD + hour + 2 - NEWEST, OLD + hour + 2)}

    def test_gives_the_same_draws_again(
        self, reads: list[dict[str, Any]], read_lake: Path, spark: SparkSession
    ) -> None:
        train(read_lake, spark, EARLY, LATER)
        assert table(read_lake, EARLY).to_pylist() == reads

    def test_has_a_rule_that_a_model_card_can_repeat(self) -> None:
        assert "9 together" in negatives.SAMPLING_RULE
        assert "10%" in negatives.SAMPLING_RULE


OLD, NEWEST = 30, 12
READ_AT = {f"e{n}": n for n in range(8)}
"""Event → hour after two o'clock; one more story an hour is published."""


@pytest.fixture(scope="module")
def read_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty old stories and one more each hour, half as many withdrawn or unlisted ones; someone reads s0 to s7, the first again."""
    hours = [-100 + n for n in range(OLD)] + [float(n) for n in range(20)]
    stories = [story(f"s{n}", at(hour)) for n, hour in enumerate(hours)]
    gone = [
        story(f"gone{n}", at(hour), deleted_at=at(hour + 0.1), updated_at=at(hour))
        for n, hour in enumerate(hours)
        if n % 4 == 0
    ]
    unlisted = [story(f"unlisted{n}", at(hour), visibility="unlisted") for n, hour in enumerate(hours) if n % 4 == 2]
    done = [event("u", "read", f"s{n}", at(2 + n), event_id=f"e{n}") for n in range(8)]
    lake = write_lake(
        tmp_path_factory.mktemp("reads"),
        stories=[*stories, *gone, *unlisted],
        events=[*done, event("u", "read", "s0", at(11), event_id="again")],
    )
    for name in GRID_FEATURES:
        write_dataset(lake, name, [], FIRST)
    return lake


@pytest.fixture(scope="module")
def reads(read_lake: Path, spark: SparkSession) -> Iterator[list[dict[str, Any]]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(negatives.STRATA, "newest", NEWEST * 3 // 2)  # of all, the withdrawn and unlisted included
        train(read_lake, spark, EARLY)
        yield table(read_lake, EARLY).to_pylist()
