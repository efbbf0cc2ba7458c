"""Examples worked out by hand: what was shown, what came of it, and what a server knew just before."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession

from batch.run import RunReport
from features.registry import BY_NAME, FEATURES
from tests.batch.training_lake import EARLY, FIRST, LATER, SECOND, at, examples, train, write_training_lake

pytestmark = pytest.mark.usefixtures("one_partition")


def rows(lake: Path, as_of: datetime) -> dict[str, dict[str, Any]]:
    """event_id → the example."""
    return {row["event_id"]: row for row in examples(lake, as_of).to_pylist()}


@pytest.fixture(scope="module")
def together(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunReport]:
    """Both as_ofs in one pass."""
    lake = write_training_lake(tmp_path_factory.mktemp("together"))
    return lake, train(lake, spark, EARLY, LATER)


@pytest.fixture(scope="module")
def by_id(together: tuple[Path, RunReport]) -> dict[str, dict[str, Any]]:
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
    assert any("schedule moments are not written" in said for said in report.jobs[-1].warnings)


def test_an_example_tells_what_was_logged(by_id: dict[str, dict[str, Any]]) -> None:
    first = by_id["first"]
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
    labels = ("open", "read", "positive_feedback", "negative_feedback")
    assert told(early["first"], *labels) == [True, False, False, False]
    assert told(early["again"], *labels) == [True, True, False, False]  # a read is an open, too
    assert told(later["again"], *labels) == [True, True, True, False]  # the clap has arrived
    assert told(early["unfollowed"], *labels) == [False] * 4
    assert told(later["too-late"], *labels) == [False, False, False, True]


def test_features_of_story_author_publication_and_topics_are_the_snapshots(by_id: dict[str, dict[str, Any]]) -> None:
    first = by_id["first"]
    assert told(first, "story_open_rate", "story_read_rate", "story_momentum") == near(0.2, 0.4, 0.5)
    assert told(first, "author_open_rate", "author_followers", "publication_open_rate") == near(0.15, 2.0, 0.5)
    # Of the topics x and `rare`, which no snapshot knows and which so has the defaults: the mean.
    assert told(first, "topic_open_rate", "topic_read_rate") == near((0.3 + 0.1) / 2, (0.7 + 0.3) / 2)


def test_a_changed_story_keeps_what_was_learned_of_it(by_id: dict[str, dict[str, Any]]) -> None:
    again = by_id["again"]
    assert again["author_id"] == "bob"
    assert told(again, "story_open_rate", "author_open_rate", "topic_open_rate") == near(0.2, 0.05, 0.3)
    assert again["publication_open_rate"] == np.float32(BY_NAME["publication_open_rate"].default)  # it has left it


def test_features_of_a_language_are_those_of_the_version_shown(by_id: dict[str, dict[str, Any]]) -> None:
    names = ("language_open_rate", "language_read_rate")
    defaults = [np.float32(BY_NAME[name].default) for name in names]
    assert told(by_id["first"], *names) == near(0.35, 0.55)
    assert told(by_id["of-fresh"], *names) == near(0.35, 0.55)  # no snapshot knows the story, but its language
    assert told(by_id["again"], *names) == defaults  # in another language by then, which no snapshot knows
    assert told(by_id["of-stray"], *names) == defaults  # in none


def test_a_fresh_story_has_its_authors_rates_and_no_vector(by_id: dict[str, dict[str, Any]]) -> None:
    fresh, stray = by_id["of-fresh"], by_id["of-stray"]
    assert told(fresh, "story_open_rate", "story_read_rate", "story_popularity", "als_score") == near(0.15, 0.35, 0, 0)
    assert told(stray, "story_open_rate", "story_read_rate", "author_open_rate") == near(0.1, 0.3, 0.1)
    assert fresh["recency"] == pytest.approx(0.5 ** (1 / 24))  # an hour old


def test_features_of_user_and_story(by_id: dict[str, dict[str, Any]]) -> None:
    first = by_id["first"]
    assert told(first, "als_score", "unopened_impressions") == near(1 * 3 + 2 * 4, math.log1p(3))
    assert told(first, "author_affinity", "topic_affinity", "publication_affinity") == near(0.5, 0.75 / 2, 0)
    assert told(first, "topic_engagement", "topic_impressions") == near(3 / 2, 8 / 2)
    assert told(first, "user_engagement", "user_impressions") == near(3 - 1, 8 + 4)
    assert first["recency"] == pytest.approx(0.5 ** ((48 + 10) / 24), rel=1e-6)


def test_follows_are_those_in_force_and_reads_those_received(by_id: dict[str, dict[str, Any]]) -> None:
    names = ("follows_author", "follows_publication", "follows_topics", "similarity", "co_reading")
    assert told(by_id["first"], *names) == [0, 0, 0.5, 0, 0]  # x of x and `rare`; b is not read yet
    assert told(by_id["again"], *names) == [1, 0, 1, 0.5, 0.5]  # follows Bob, and has read b, of which a is a neighbour
    assert told(by_id["unfollowed"], *names) == [0, 0, 1, 0.5, 0.5]  # the story is in no publication any more


def test_a_newcomer_has_defaults(by_id: dict[str, dict[str, Any]]) -> None:
    mine = [f for f in FEATURES if f.entity == "user_story" and f.name != "recency"]
    assert told(by_id["newcomer"], *(f.name for f in mine)) == [f.default for f in mine]


def test_one_as_of_alone_and_both_together_give_the_same_bytes(
    together: tuple[Path, RunReport], spark: SparkSession, tmp_path: Path
) -> None:
    alone = write_training_lake(tmp_path)
    train(alone, spark, EARLY)
    assert examples(alone, EARLY).equals(examples(together[0], EARLY))
