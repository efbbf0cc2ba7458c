"""A lake without impressions: what stands for a positive and a negative is what the rule says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from batch.example_building import negatives
from batch.graph import RANKED_BY
from features.derived_datasets import SAMPLING_RULE
from tests.batch.feature_lake import write_dataset
from tests.batch.training_lake import EARLY, FIRST, LATER, SETTINGS, at, examples, train
from tests.lakes import event, story, write_lake

pytestmark = pytest.mark.usefixtures("one_partition")

OLD, NEWEST = 30, 12
READ_AT = {f"e{n}": n for n in range(8)}
"""Event → hour after two o'clock; one more story an hour is published."""


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
            assert not stories & {f"s{n}" for n in range(8)}, "never read by the user, also not later that day"
            newest = {row["story_id"] for row in drawn if "-newest-" in row["event_id"]}
            assert len(newest) == 2
            assert newest <= {f"s{n}" for n in range(OLD + hour + 2 - NEWEST, OLD + hour + 2)}

    def test_gives_the_same_draws_again(
        self, reads: list[dict[str, Any]], read_lake: Path, spark: SparkSession
    ) -> None:
        train(read_lake, spark, EARLY, LATER)
        assert examples(read_lake, EARLY).to_pylist() == reads

    def test_has_a_rule_that_a_model_card_can_repeat(self) -> None:
        assert "9 together" in SAMPLING_RULE
        assert "10%" in SAMPLING_RULE


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
    for name in RANKED_BY:
        write_dataset(lake, name, [], FIRST)
    return lake


@pytest.fixture(scope="module")
def reads(read_lake: Path, spark: SparkSession) -> Iterator[list[dict[str, Any]]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(negatives.STRATA, "newest", NEWEST * 3 // 2)  # of all, the withdrawn and unlisted included
        train(read_lake, spark, EARLY)
        yield examples(read_lake, EARLY).to_pylist()
