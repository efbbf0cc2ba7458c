"""A stream that writes a file a minute leaves thousands of tiny ones: they are read like any others, in bearable time."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from batch.run import run
from batch.settings import BatchSettings
from features.duckdb_views import connect
from lake.check import check_lake
from tests.lakes import NOON, ago, event, story, write_lake, write_rows

FILES = 5_000
BEARABLE_S = 300
"""For each step; seconds on a machine of two cores that does nothing else, minutes beside other work."""


@pytest.mark.nightly(part="batch")
def test_five_thousand_files_are_checked_viewed_and_validated(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = write_lake(tmp_path, stories=[story("s")])
    for number in range(FILES):
        rows = [event(f"u{number % 100}", "read", "s", ago(seconds=number))]
        write_rows(lake, "events", rows, f"dt={ago(seconds=number):%Y-%m-%d}/part-{number:05d}.parquet")
    took = {}
    begun = time.perf_counter()
    assert check_lake(lake, NOON).datasets["events"].rows == FILES
    took["check"] = time.perf_counter() - begun
    begun = time.perf_counter()
    with connect(lake) as db:
        assert db.sql("SELECT count(DISTINCT dt), count(*) FROM events").fetchall() == [(1, FILES)]
    took["view"] = time.perf_counter() - begun
    begun = time.perf_counter()
    now = NOON + timedelta(minutes=1)
    report = run(lake, [NOON], now=now, settings=BatchSettings(), jobs=["valid_stories", "valid_events"], spark=spark)
    took["validate"] = time.perf_counter() - begun
    assert report.jobs[1].rows == {NOON: FILES}
    with capsys.disabled():
        print(f"\n{FILES:,} files: " + ", ".join(f"{step} {seconds:.1f} s" for step, seconds in took.items()))
    assert max(took.values()) < BEARABLE_S
