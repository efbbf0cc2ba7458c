"""A partition counts as written as long as it is what its manifest names and its dataset is declared as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from batch.backfill import backfill, missing
from batch.checks import check_dataset, refuse_emptied
from batch.io import Staged
from batch.run import run
from batch.schedule import outdated
from batch.settings import BatchSettings
from features.datasets import ALL, dataset
from features.duckdb_views import connect, connect_to
from features.errors import BadInput
from features.lake_layout import partition_folder
from features.partitions import is_written, write_manifest, written
from tests.batch.feature_lake import AS_OF, story, write_dataset, write_partition
from tests.batch.training_lake import (
    AT_SECOND,
    EVENTS,
    FIRST,
    JOBS,
    LATER,
    SECOND,
    at,
    examples,
    shown,
    write_training_lake,
)
from tests.lakes import event

DAY = timedelta(days=1)
NEW = "story_popularity"
"""The column that history lacks."""


@pytest.fixture
def before(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Does something as the code did before `story_features` had the column NEW."""

    def do(what: Callable[[], object]) -> None:
        now = dataset("story_features")
        with monkeypatch.context() as patch:
            columns = tuple(column for column in now.columns if column.name != NEW)
            patch.setitem(ALL, now.name, replace(now, columns=columns, checks=()))
            what()

    return do


class TestAColumnIsAddedToALakeWithHistory:
    def test_training_reports_which_days_lack_it_and_sees_real_values_once_they_are_backfilled(
        self, spark: SparkSession, tmp_path: Path, before: Callable[[Callable[[], object]], None]
    ) -> None:
        settings = BatchSettings(training_days=3)
        popular = [shown("shown-early", -26, "a"), event("u", "read", "a", at(-25), event_id="read-early")]
        before(lambda: write_training_lake(tmp_path, events=[*EVENTS, *popular]))
        write_dataset(tmp_path, "story_features", AT_SECOND["story_features"], SECOND)

        def trained(*jobs: str) -> tuple[list[str], dict[datetime, set[float]]]:
            report = run(tmp_path, [LATER], now=LATER, settings=settings, jobs=jobs, spark=spark)
            rows = [row for row in examples(tmp_path, LATER).to_pylist() if row["story_id"] == "a"]
            found = {row["features_as_of"]: {row[NEW]} for row in rows}
            return [said for said in report.jobs[-1].warnings if "schedule moments" in said], found

        [told], values = trained(*JOBS)
        assert values == {SECOND: {9.0}}, "an example of a day without the column would have its default"
        assert told.startswith("features of 2 of 3 schedule moments are not written")
        assert told.endswith(": 2026-01-29T00:00:00Z to 2026-01-30T00:00:00Z")

        backfill(tmp_path, LATER, now=LATER, settings=settings, spark=spark)
        told_now, values = trained("training_examples")
        with connect(tmp_path, FIRST) as db:
            [(made,)] = db.execute(f"SELECT {NEW} FROM story_features WHERE story_id = 'a'").fetchall()
        assert values[FIRST] == {made}
        assert made > 0
        assert told_now == []

    def test_only_the_job_that_writes_it_runs_again(
        self, tmp_path: Path, before: Callable[[Callable[[], object]], None]
    ) -> None:
        settings = BatchSettings(training_days=2)
        seen = event("u", "read", "s", AS_OF - 9 * DAY, event_id="e", valid_from=AS_OF, received_at=AS_OF)
        write_dataset(tmp_path, "valid_events", [seen])

        def history() -> None:
            for part in missing(tmp_path, AS_OF, settings, daily=False):
                for name, day in ((name, day) for name in part.jobs for day in part.as_ofs):
                    write_dataset(tmp_path, name, [], day)

        before(history)
        [part] = missing(tmp_path, AS_OF, settings, daily=False)
        assert part.jobs == ("story_features",)
        assert part.as_ofs == (AS_OF - 3 * DAY, AS_OF - 2 * DAY)

    def test_views_show_no_partition_that_lacks_it(
        self, tmp_path: Path, before: Callable[[Callable[[], object]], None]
    ) -> None:
        before(lambda: write_dataset(tmp_path, "story_features", [{"story_id": "then"}], AS_OF - DAY))
        write_dataset(tmp_path, "story_features", [{"story_id": "now", NEW: 1.0}])
        with connect(tmp_path) as db:
            assert db.execute(f"SELECT story_id, {NEW} FROM story_features").fetchall() == [("now", 1.0)]
        with pytest.raises(BadInput, match=rf"story_features/.*columns were added or removed: {NEW}; run `rex batch"):
            connect_to(tmp_path, {"story_features": AS_OF - DAY})


def test_a_raised_version_makes_every_partition_outdated_and_a_run_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = [AS_OF - back * DAY for back in (5, 4, 2, 1)]
    for day in days:
        write_dataset(tmp_path, "valid_stories", [story("s", 1)], day)
    assert written(tmp_path, "valid_stories") == days
    assert outdated(tmp_path, "valid_stories") == []
    monkeypatch.setitem(ALL, "valid_stories", replace(dataset("valid_stories"), version=2))
    write_dataset(tmp_path, "valid_stories", [story("s", 1)], days[2])
    assert written(tmp_path, "valid_stories") == [days[2]]
    [told] = outdated(tmp_path, "valid_stories")
    assert told.startswith("3 of 4 partitions of valid_stories count as not written (run `rex batch` with them")
    assert told.endswith(
        "2026-01-26T00:00:00Z to 2026-01-27T00:00:00Z, 2026-01-30T00:00:00Z; the last is of version 1, not 2"
    )


def _extra(folder: Path) -> None:
    (folder / "part-00001.parquet").write_bytes(b"half")


def _no_manifest(folder: Path) -> None:
    (folder / "_manifest.json").unlink()


def _no_file(folder: Path) -> None:
    (folder / "part-00000.parquet").unlink()


def _shorter(folder: Path) -> None:
    path = folder / "part-00000.parquet"
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_no_manifest, "has no manifest; run `rex batch"),
        (_no_file, "lacks part-00000.parquet as its manifest names it"),
        (_shorter, "lacks part-00000.parquet as its manifest names it"),
    ],
)
def test_what_is_not_as_its_manifest_says_is_not_written(
    damage: Callable[[Path], None], told: str, tmp_path: Path
) -> None:
    write_dataset(tmp_path, "valid_stories", [story("s", 1)])
    assert is_written(tmp_path, ["valid_stories"], AS_OF)
    damage(partition_folder(tmp_path, "valid_stories", AS_OF))
    assert not is_written(tmp_path, ["valid_stories"], AS_OF)
    with pytest.raises(BadInput, match=told):
        check_dataset(tmp_path, "valid_stories", AS_OF)


def test_what_a_manifest_does_not_name_is_not_read(tmp_path: Path) -> None:
    write_dataset(tmp_path, "valid_stories", [story("s", 1)])
    _extra(partition_folder(tmp_path, "valid_stories", AS_OF))
    assert check_dataset(tmp_path, "valid_stories", AS_OF) == 1
    with connect(tmp_path) as db:
        assert db.execute("SELECT story_id FROM valid_stories").fetchall() == [("s",)]


@pytest.mark.parametrize("content", ["", "[]", '{"version": 1, "columns": [], "files": {"a": 3}}', b"\xff\xfe"])
def test_a_damaged_manifest_is_bad_input(content: str | bytes, tmp_path: Path) -> None:
    write_dataset(tmp_path, "valid_stories", [story("s", 1)])
    path = partition_folder(tmp_path, "valid_stories", AS_OF) / "_manifest.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BadInput, match=r"_manifest\.json is damaged .*; remove .*as_of=.*, and run the batch"):
        is_written(tmp_path, ["valid_stories"], AS_OF)


def test_a_folder_that_cannot_be_a_partition_is_named(tmp_path: Path) -> None:
    (tmp_path / "features" / "valid_stories" / "as_of=today").mkdir(parents=True)
    with pytest.raises(BadInput, match=r"as_of=today is not named as a partition is .*; remove it"):
        connect(tmp_path)


def test_what_a_later_code_adds_to_a_manifest_does_not_matter(tmp_path: Path) -> None:
    write_dataset(tmp_path, "valid_stories", [story("s", 1)])
    path = partition_folder(tmp_path, "valid_stories", AS_OF) / "_manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"more": 1}))
    assert is_written(tmp_path, ["valid_stories"], AS_OF)


@pytest.mark.parametrize("back", [0, 1, 3])
def test_nothing_where_a_manifest_of_any_version_had_rows_stops_the_run(
    back: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files are not asked: they may have been lost by what has emptied the input."""
    write_dataset(tmp_path, "valid_stories", [story("s", 1)], AS_OF - back * DAY)
    _no_file(partition_folder(tmp_path, "valid_stories", AS_OF - back * DAY))
    newer = replace(dataset("valid_stories"), version=2)
    staged = _staged(tmp_path, AS_OF)
    with pytest.raises(
        BadInput, match=r"valid_stories has 0 rows as of 2026-01-31.* has 1; nothing of it was replaced"
    ):
        refuse_emptied(newer, [staged])
    refuse_emptied(replace(newer, may_end=True), [staged])


def _staged(lake: Path, as_of: datetime) -> Staged:
    """A partition without rows that is not in its place yet."""
    table = dataset("valid_stories").arrow_schema().empty_table().drop_columns(["as_of"])
    made = write_partition(lake / "made", "valid_stories", table, as_of)
    staged = Staged.of(lake / "features" / "valid_stories", as_of)
    staged.path.parent.mkdir()
    made.rename(staged.path)
    write_manifest(dataset("valid_stories"), staged.path)
    return staged
