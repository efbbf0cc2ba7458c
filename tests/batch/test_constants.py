"""What was made with other constants is computed again or refused, and never mixed with what was made with these."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from batch.backfill import missing
from batch.constants import constants_version
from batch.graph import BY_NAME
from batch.point_in_time import RunContext
from batch.run import run
from batch.schedule import looking_back
from batch.settings import BatchSettings
from batch.snapshot_content import READS, content_of, cut, manifest_of, partitions_at, read_content
from features.errors import BadInput
from features.lake_layout import partition_folder
from features.partitions import read_manifest
from lake.models import release
from learning.settings import LearningSettings
from learning.train import is_due
from online.rankers.models.model import Model
from online.rankers.models.model_file import encode
from rex.bulk_ranking import is_computed
from tests.batch.feature_lake import AS_OF, write_dataset, write_features
from tests.lakes import NOON, ago, event, story, write_lake

DAY = timedelta(days=1)
SETTINGS = BatchSettings(training_days=2, shuffle_partitions=1)
OTHER = SETTINGS.model_copy(update={"story_half_life_d": 4.0})
THESE, THOSE = constants_version(SETTINGS), constants_version(OTHER)


def test_settings_that_decide_features_have_a_version_and_no_others() -> None:
    assert THESE != THOSE
    same = {
        "training_days": 9,
        "training_refit_d": 1,
        "tuning_budget_s": 1.0,
        "shuffle_partitions": 3,
        "spark_master": "x",
    }
    assert constants_version(SETTINGS.model_copy(update=same)) == THESE


def test_a_constant_of_the_code_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batch.constants.FIXED", ())
    assert constants_version(SETTINGS) != THESE


def test_a_run_stamps_what_it_writes_and_reads_nothing_of_other_constants(spark: SparkSession, tmp_path: Path) -> None:
    lake = write_lake(tmp_path, stories=[story("s")], events=[event("u", "read", "s", ago(hours=12))])
    jobs = ["valid_stories", "valid_events", "story_counters"]
    run(lake, [NOON], now=NOON, settings=SETTINGS, jobs=jobs, spark=spark)
    stamps = [read_manifest(partition_folder(lake, name, NOON)) for name in jobs]
    assert [manifest and manifest.constants for manifest in stamps] == ["", "", THESE]
    with pytest.raises(
        BadInput, match=f"story_counters/.* was computed with the constants {THESE}, not {THOSE}; run the"
    ):
        run(lake, [NOON], now=NOON, settings=OTHER, jobs=["top_stories"], spark=spark)


def _history(lake: Path, constants: str) -> Path:
    seen = event("u", "read", "s", AS_OF - 9 * DAY, event_id="e", valid_from=AS_OF, received_at=AS_OF)
    write_dataset(lake, "valid_events", [seen])
    for at in (AS_OF - 3 * DAY, AS_OF - 2 * DAY):
        for name in {*READS, "story_counters"}:
            write_dataset(lake, name, [], at, constants)
    return lake


def test_the_schedule_is_backfilled_where_it_was_computed_with_other_constants(tmp_path: Path) -> None:
    lake, context = _history(tmp_path, THESE), RunContext((AS_OF,), AS_OF, SETTINGS)
    assert missing(lake, AS_OF, SETTINGS, daily=False) == []
    assert len(looking_back(BY_NAME["training_examples"], lake, context).schedule) == 2
    [part, *others] = missing(lake, AS_OF, OTHER, daily=False)
    assert part.as_ofs == (AS_OF - 3 * DAY, AS_OF - 2 * DAY)
    assert {"story_counters", "story_features"} <= {job for one in (part, *others) for job in one.jobs}
    assert looking_back(BY_NAME["training_examples"], lake, replace(context, settings=OTHER)).schedule == ()


class TestASnapshot:
    def test_of_features_of_different_constants_is_refused(self, tmp_path: Path) -> None:
        lake = write_features(tmp_path, {}, constants=THESE)
        write_dataset(lake, "top_stories", [], constants=THOSE)
        with pytest.raises(BadInput, match=r"2026-01-31.* were computed with different constants .*rex batch --as-of"):
            content_of(lake, AS_OF, partitions_at(AS_OF))

    def test_says_which_it_was_made_with(self, tmp_path: Path) -> None:
        content = read_content(write_features(tmp_path, {}, constants=THESE), AS_OF)
        assert manifest_of(content, cut(content), 1, AS_OF).constants == THESE

    def test_with_a_model_of_other_constants_is_refused(self, tmp_path: Path, model: Model) -> None:
        lake = write_features(tmp_path, {}, constants=THESE)
        for constants in (THESE, ""):  # a model from elsewhere does not say
            release(lake, encode(replace(model, about={"constants": constants})), as_of=AS_OF, now=AS_OF)
            assert read_content(lake, AS_OF).model
        release(lake, encode(replace(model, about={"constants": THOSE})), as_of=AS_OF, now=AS_OF)
        assert is_due(lake, AS_OF, LearningSettings(), THESE), "the daily run would be refused until it trains"
        assert not is_due(lake, AS_OF, LearningSettings(), THOSE)
        with pytest.raises(
            BadInput, match=f"model learned from features of the constants {THOSE}, .* of {THESE}; run `rex"
        ):
            read_content(lake, AS_OF)


def test_bulk_ranking_does_not_take_features_of_other_constants(tmp_path: Path) -> None:
    lake = write_features(tmp_path, {}, constants=THESE)
    assert is_computed(lake, AS_OF, THESE)
    assert not is_computed(lake, AS_OF, THOSE)
