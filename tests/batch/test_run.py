"""A run that cannot be done says why in one sentence and leaves what was there; a killed one leaves no half partition."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from batch import run_notes
from batch.checks import check_dataset
from batch.io import clear_leftovers, promote, stage
from batch.jobs.validated import valid_stories
from batch.point_in_time import RunContext
from batch.run import run
from batch.settings import BatchSettings
from features.datasets import dataset
from features.errors import BadInput, InUse, Unavailable
from features.lake_files import data_files
from features.lake_layout import partition_name
from rex.local.faults import refusal
from tests.lakes import NOON, ago, event, story, write_lake

SETTINGS = BatchSettings()
TOP = "as_of timestamp, language string, rank int, story_id string, heat double"


def _small(lake: Path) -> Path:
    return write_lake(lake, stories=[story("s")], events=[event("u", "read", "s", ago(hours=1))])


def _run(lake: Path, spark: SparkSession, *jobs: str, as_of: datetime = NOON) -> None:
    run(lake, [as_of], now=NOON, settings=SETTINGS, jobs=jobs or None, spark=spark)


def _top(spark: SparkSession, story_id: str, rank: int = 0) -> object:
    return spark.createDataFrame([(NOON, "*", rank, story_id, 1.0)], TOP)


@pytest.mark.parametrize(
    ("as_ofs", "told"),
    [
        ([], "No as_of was given"),
        ([datetime(2026, 1, 31)], "has no time zone"),  # noqa: DTZ001 - that is the point
        ([NOON + timedelta(microseconds=1)], "not a whole second"),
        ([NOON + timedelta(hours=1)], "is after now"),
    ],
)
def test_an_as_of_that_means_nothing_is_bad_input(tmp_path: Path, as_ofs: list[datetime], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        run(_small(tmp_path), as_ofs, now=NOON, settings=SETTINGS)


def test_an_unknown_job_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="There is no job 'dance'; known: valid_stories"):
        run(_small(tmp_path), [NOON], now=NOON, settings=SETTINGS, jobs=["dance"])


def test_a_missing_lake_is_bad_input_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="There is no lake"):
        run(tmp_path / "nowhere", [NOON], now=NOON, settings=SETTINGS)
    assert not (tmp_path / "nowhere").exists()


def test_a_job_without_its_inputs_says_what_is_missing(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="valid_events/as_of=2026-01-31T12-00-00Z has not been written yet"):
        _run(_small(tmp_path), spark, "story_counters")


def test_a_second_run_on_one_lake_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    lake = _small(tmp_path)
    runs = lake / "features" / "_runs"
    runs.mkdir(parents=True)
    with (runs / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InUse, match="Another batch is running"):
            _run(lake, spark)


def test_damage_behind_a_whole_footer_names_the_file(spark: SparkSession, tmp_path: Path) -> None:
    lake = write_lake(tmp_path, stories=[story(f"s{number}") for number in range(500)])
    path = (lake / "raw" / "stories" / "part-00000.parquet").rename(lake / "raw" / "stories" / "part 0.pq")
    data = bytearray(path.read_bytes())
    data[8:400] = b"\xff" * 392  # the first data page; the footer is at the end
    path.write_bytes(data)
    assert pq.read_metadata(path).num_rows == 500
    with pytest.raises(BadInput, match=f"job valid_stories: Spark cannot read {path} although .* whole: .*Exception"):
        _run(lake, spark, "valid_stories")
    assert not list((lake / "features").rglob("*.parquet"))


def test_a_full_disk_in_spark_names_the_job_and_may_pass() -> None:
    told = refusal(PySparkException("an error\nNo space left on device"), "job top_stories")
    assert isinstance(told, Unavailable), "a full disk may pass, so a scheduled task tries again"
    assert str(told).startswith("job top_stories: The disk that the lake or REX_VAR is on is full; make room")


def test_what_a_killed_run_left_is_cleared_and_what_it_moved_away_comes_back(
    spark: SparkSession, tmp_path: Path
) -> None:
    top, place = dataset("top_stories"), partition_name(NOON)
    promote(stage(_top(spark, "old"), tmp_path, top, [NOON]))
    folder = tmp_path / "features" / "top_stories"
    # Killed while writing: half a partition lies beside, and is no data.
    stage(_top(spark, "half"), tmp_path, top, [NOON])
    assert check_dataset(tmp_path, "top_stories", NOON) == 1
    # Killed between the two renames: the old partition has been moved away, the new one is not there yet.
    (folder / "_replaced").mkdir()
    (folder / place).rename(folder / "_replaced" / place)
    clear_leftovers(folder)
    assert sorted(path.name for path in folder.iterdir()) == [place]
    assert pq.read_table(folder / place / "part-00000.parquet")["story_id"].to_pylist() == ["old"]


def test_a_re_run_replaces_its_partition_and_no_other(spark: SparkSession, tmp_path: Path) -> None:
    top = dataset("top_stories")
    earlier = _top(spark, "earlier").selectExpr(
        "as_of - INTERVAL 1 DAY AS as_of", "language", "rank", "story_id", "heat"
    )  # type: ignore[attr-defined]
    promote(stage(earlier, tmp_path, top, [NOON - timedelta(days=1)]))
    for story_id in ("first", "second"):
        promote(stage(_top(spark, story_id), tmp_path, top, [NOON]))
    read = {
        path.parent.name: pq.read_table(path, partitioning=None)["story_id"].to_pylist()
        for path in (tmp_path / "features").rglob("*.parquet")
    }
    assert read == {partition_name(NOON - timedelta(days=1)): ["earlier"], partition_name(NOON): ["second"]}


class TestNothingWhereThereWasSomething:
    @pytest.fixture
    def lake(self, spark: SparkSession, tmp_path: Path) -> Path:
        """A day after a run that knew two users and a promotion, a producer delivers neither."""
        promoted = {
            "promotion_id": "p",
            "story_id": "s",
            "starts_at": ago(days=9),
            "ends_at": ago(days=-9),
            "priority": 1,
        }
        users = [{"user_id": user, "created_at": ago(days=20)} for user in "uv"]
        lake = write_lake(_small(tmp_path), users=users, promotions=[promoted])
        _run(lake, spark, "valid_users", "valid_stories", "valid_promotions", as_of=ago(days=1))
        for raw in ("users", "promotions"):
            shutil.rmtree(lake / "raw" / raw)
        return lake

    @pytest.mark.parametrize("as_of", [NOON, ago(days=1)], ids=["the next day", "the same day again"])
    def test_stops_the_run_with_both_counts_and_replaces_nothing(
        self, as_of: datetime, spark: SparkSession, lake: Path
    ) -> None:
        folder = lake / "features" / "valid_users"
        told = f"valid_users has 0 rows as of {as_of.isoformat()}, where {folder / partition_name(ago(days=1))} has 2"
        with pytest.raises(BadInput, match=re.escape(told)):
            _run(lake, spark, "valid_users", as_of=as_of)
        assert [path.name for path in folder.iterdir()] == [partition_name(ago(days=1))]
        assert check_dataset(lake, "valid_users", ago(days=1)) == 2

    def test_is_fine_for_what_may_come_to_an_end_and_for_a_moment_before_there_was_any(
        self, spark: SparkSession, lake: Path
    ) -> None:
        _run(lake, spark, "valid_promotions")
        assert check_dataset(lake, "valid_promotions", NOON) == 0
        _run(lake, spark, "valid_users", as_of=ago(days=2))
        assert check_dataset(lake, "valid_users", ago(days=2)) == 0


def test_each_partition_is_one_file_sorted_by_grain(spark: SparkSession, tmp_path: Path) -> None:
    moments = [NOON - timedelta(days=days) for days in (1, 0)]
    rows = [(at, "*", rank, f"s{rank}", 1.0) for rank in (3, 0, 4, 1, 2) for at in moments]
    promote(stage(spark.createDataFrame(rows, TOP), tmp_path, dataset("top_stories"), moments))
    for at in moments:
        [file] = data_files(tmp_path / "features" / "top_stories" / partition_name(at))
        assert pq.read_table(file, partitioning=None)["rank"].to_pylist() == [0, 1, 2, 3, 4]


def test_a_derived_dataset_that_fails_its_checks_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    top = dataset("top_stories")
    twice = _top(spark, "a").unionByName(_top(spark, None))  # type: ignore[attr-defined, arg-type]
    promote(stage(twice, tmp_path, top, [NOON]))
    with pytest.raises(BadInput, match=r"grain \(language, rank\) is not unique: 1 rows; story_id is null: 1 rows"):
        check_dataset(tmp_path, "top_stories", NOON)
    with pytest.raises(BadInput, match="has not been written yet"):
        check_dataset(tmp_path, "similar_stories", NOON)


def test_jobs_that_run_one_by_one_hold_a_stream_as_far_as_the_first_of_them_saw_it(
    spark: SparkSession, tmp_path: Path
) -> None:
    lake = _small(tmp_path)
    note = lake / "features" / "_runs" / f"{partition_name(NOON)}.json"
    for job, archived in (("valid_stories", '{"s": "1-0"}'), ("valid_users", '{"s": "2-0"}')):
        (lake / "raw" / "_archived.json").write_text(archived)  # something was archived between the two
        _run(lake, spark, job)
    found = json.loads(note.read_text())
    assert found["positions"] == {"s": "1-0"}
    assert found["jobs"]["valid_stories"] == 1


def test_a_stream_that_one_reader_did_not_know_is_not_held() -> None:
    assert run_notes.earliest([{"s": "9-1", "t": "1-0"}, {"s": "10-0"}]) == {"s": "9-1"}


def test_damaged_positions_are_bad_input(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for content in ("{half", '["list"]', '{"s": "yesterday"}'):
        (tmp_path / "raw" / "_archived.json").write_text(content)
        with pytest.raises(BadInput, match=r"_archived\.json"):
            run_notes.read_archived(tmp_path)


def test_positions_are_clipped_to_as_of_less_the_clock_skew() -> None:
    as_of = datetime(1970, 1, 1, 0, 5, 2, tzinfo=UTC)  # 302 s less 300 s of skew
    archived = {"before": "1999-7", "at": "2000-7", "after": "2001-0"}
    assert run_notes.clipped(archived, as_of) == {
        "after": "2000-18446744073709551615",
        "at": "2000-7",
        "before": "1999-7",
    }


def test_a_file_that_changes_while_it_is_read_stops_the_job(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever writes a file in place may do so at any moment; half of the old and half of the new is neither."""
    lake = write_lake(tmp_path, stories=[story("s")])
    (path,) = (lake / "raw" / "stories").iterdir()

    def overwritten(stories: DataFrame, *, context: RunContext) -> DataFrame:
        path.write_bytes(path.read_bytes())
        return valid_stories(stories, context=context)

    monkeypatch.setattr("batch.jobs.validated.valid_stories", overwritten)
    with pytest.raises(BadInput, match=f"{path} has changed while it was read; run it again when nothing writes to it"):
        _run(lake, spark, "valid_stories")
    assert not list((lake / "features" / "valid_stories").glob("as_of=*"))
