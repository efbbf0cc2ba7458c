"""An as_of sees nothing from after it, and gives the same bits however and wherever it is computed."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from batch.graph import order
from batch.run import run
from features.datasets import dataset
from features.lake_layout import partition_name
from tests.batch.small_world import SETTINGS, write_small_world
from tests.lakes import NOON, ago

JOBS = order()
EARLIER = ago(days=6)
NOW = NOON + timedelta(days=30)
"""All runs are made a month later, so that rows after NOON are late, not from the future."""


@pytest.fixture(scope="module")
def together(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both moments in one pass, over a lake that goes on after them."""
    lake = write_small_world(tmp_path_factory.mktemp("together"))
    run(lake, [NOON, EARLIER], now=NOW, settings=SETTINGS, spark=spark)
    return lake


@pytest.fixture(scope="module")
def back_then(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The earlier moment alone, from the lake as it was then."""
    lake = write_small_world(tmp_path_factory.mktemp("back_then"), known_by=EARLIER)
    run(lake, [EARLIER], now=NOW, settings=SETTINGS, spark=spark)
    return lake


def _rows(lake: Path, name: str, as_of: datetime, seen_at: datetime | None = None) -> pa.Table:
    """One partition, sorted by grain; of validated rows those that as_of itself sees (or seen_at), as other as_ofs may see more."""
    table = pq.read_table(lake / "features" / name / partition_name(as_of), partitioning=None)
    if name.startswith("valid_"):
        since, until = table["valid_from"], table["valid_until"]
        at = pa.scalar(seen_at or as_of, until.type)
        table = table.filter(pc.and_(pc.less_equal(since, at), pc.or_kleene(pc.is_null(until), pc.greater(until, at))))
    return table.sort_by([(column, "ascending") for column in dataset(name).grain if column != "as_of"])


def _bits(table: pa.Table) -> bytes:
    """Every value to the last bit: two floats that print alike may differ here."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema.remove_metadata()) as writer:
        writer.write_table(table.combine_chunks().replace_schema_metadata(None))
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("name", [job.name for job in JOBS if not job.validates])
def test_many_as_ofs_in_one_pass_equal_each_alone_on_its_day(name: str, together: Path, back_then: Path) -> None:
    ours, theirs = _rows(together, name, EARLIER), _rows(back_then, name, EARLIER)
    assert len(ours) > 0, f"{name} is empty, so nothing was compared"
    assert ours.equals(theirs), f"{name} sees something from after its as_of"
    assert _bits(ours) == _bits(theirs)


@pytest.mark.parametrize("name", [job.name for job in JOBS if job.validates])
def test_rows_validated_at_a_later_moment_are_for_an_earlier_one_what_it_saw_itself(
    name: str, together: Path, back_then: Path
) -> None:
    """All but `valid_until`, of which nobody knew yet."""
    ours, theirs = _rows(together, name, NOON, EARLIER), _rows(back_then, name, EARLIER)
    assert len(ours) > 0, f"{name} is empty, so nothing was compared"
    assert _bits(ours.drop_columns("valid_until")) == _bits(theirs.drop_columns("valid_until"))


def test_the_two_moments_differ(together: Path) -> None:
    """Guards the tests above: were as_of ignored, they would pass."""
    assert not _rows(together, "story_counters", EARLIER).equals(_rows(together, "story_counters", NOON))


def test_running_again_replaces_the_partition_by_the_same_files(spark: SparkSession, together: Path) -> None:
    folder = together / "features" / "topic_features"
    before = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    run(together, [NOON], now=NOW, settings=SETTINGS, jobs=["topic_features"], spark=spark)
    after = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert before == after


@pytest.mark.process
@pytest.mark.nightly(part="batch")
def test_another_process_without_the_later_rows_gives_the_same_bits(together: Path, tmp_path: Path) -> None:
    """The later moment alone, from a lake in which nothing had come later; and a run is silent on the console."""
    lake = write_small_world(tmp_path / "elsewhere", known_by=NOON)
    command = [sys.executable, "-m", "tests.batch.run_once", lake, NOW.isoformat(), NOON.isoformat()]
    environment = {**os.environ, "REX_VAR": str(tmp_path / "var")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert (done.returncode, done.stderr) == (0, ""), "a run is to succeed, and to be silent on the console"
    for name in (job.name for job in JOBS):
        ours, theirs = _rows(together, name, NOON), _rows(lake, name, NOON)
        assert len(ours) > 0, f"{name} is empty, so nothing was compared"
        assert ours.equals(theirs), f"{name} differs between two processes"
        assert _bits(ours) == _bits(theirs), name
