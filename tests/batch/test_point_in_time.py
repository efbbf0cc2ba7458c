"""An as_of sees nothing from after it, and gives the same bits however and wherever it is computed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from subprocess import PIPE

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

pytestmark = pytest.mark.process

JOBS = order()
EARLIER = ago(days=6)
NOW = NOON + timedelta(days=30)
"""All runs are made a month later, so that rows after NOON are late, not from the future."""


@pytest.fixture(scope="module")
def other_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """The later moment alone, from a lake in which nothing had come later. Started first, to use the second core."""
    lake = write_small_world(tmp_path_factory.mktemp("elsewhere"), known_by=NOON)
    command = [sys.executable, "-m", "tests.batch.run_once", lake, NOW.isoformat(), NOON.isoformat()]
    environment = {**os.environ, "REX_VAR": str(tmp_path_factory.mktemp("var"))}
    with subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True, env=environment) as process:
        yield lake, process
        process.kill()


@pytest.fixture(scope="module")
def together(spark: SparkSession, other_process: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both moments in one pass, over a lake that goes on after them."""
    lake = write_small_world(tmp_path_factory.mktemp("together"))
    run(lake, [NOON, EARLIER], now=NOW, settings=SETTINGS, spark=spark)
    return lake


@pytest.fixture(scope="module")
def elsewhere(together: Path, other_process: tuple[Path, subprocess.Popen[str]]) -> Path:
    """What the other process made, once it has ended."""
    lake, process = other_process
    _, console = process.communicate(timeout=300)
    assert process.returncode == 0, console
    assert console == "", "a run is to be silent on the console"
    return lake


@pytest.fixture(scope="module")
def back_then(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The earlier moment alone, from the lake as it was then."""
    lake = write_small_world(tmp_path_factory.mktemp("back_then"), known_by=EARLIER)
    run(lake, [EARLIER], now=NOW, settings=SETTINGS, spark=spark)
    return lake


def _rows(lake: Path, name: str, as_of: datetime) -> pa.Table:
    """One partition, sorted by grain; of validated rows those that as_of itself sees, as other as_ofs may see more."""
    table = pq.read_table(lake / "features" / name / partition_name(as_of), partitioning=None)
    if name.startswith("valid_"):
        until = table["valid_until"]
        seen = pc.or_kleene(pc.is_null(until), pc.greater(until, pa.scalar(as_of, until.type)))
        table = table.filter(seen)
    return table.sort_by([(column, "ascending") for column in dataset(name).grain if column != "as_of"])


def _bits(table: pa.Table) -> bytes:
    """Every value to the last bit: two floats that print alike may differ here."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema.remove_metadata()) as writer:
        writer.write_table(table.combine_chunks().replace_schema_metadata(None))
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("name", [job.name for job in JOBS])
def test_another_process_without_the_later_rows_gives_the_same_bits(name: str, together: Path, elsewhere: Path) -> None:
    ours, theirs = _rows(together, name, NOON), _rows(elsewhere, name, NOON)
    assert len(ours) > 0, f"{name} is empty, so nothing was compared"
    assert ours.equals(theirs), f"{name} differs between two processes"
    assert _bits(ours) == _bits(theirs)


@pytest.mark.parametrize("name", [job.name for job in JOBS if not job.validates])
def test_many_as_ofs_in_one_pass_equal_each_alone_on_its_day(name: str, together: Path, back_then: Path) -> None:
    ours, theirs = _rows(together, name, EARLIER), _rows(back_then, name, EARLIER)
    assert len(ours) > 0, f"{name} is empty, so nothing was compared"
    assert ours.equals(theirs), f"{name} sees something from after its as_of"
    assert _bits(ours) == _bits(theirs)


def test_the_two_moments_differ(together: Path) -> None:
    """Guards the tests above: were as_of ignored, they would pass."""
    assert not _rows(together, "story_counters", EARLIER).equals(_rows(together, "story_counters", NOON))


def test_running_again_replaces_the_partition_by_the_same_files(spark: SparkSession, together: Path) -> None:
    folder = together / "features" / "topic_features"
    before = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    run(together, [NOON], now=NOW, settings=SETTINGS, jobs=["topic_features"], spark=spark)
    after = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert before == after
