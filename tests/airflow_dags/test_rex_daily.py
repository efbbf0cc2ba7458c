"""The DAG is the batch graph, and the real Airflow runs it from a raw lake to a published snapshot."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis

from batch.graph import order
from batch.tuning.tuned import is_due as tuning_is_due
from batch.tuning.tuned import read_tuned
from features.keys import Keys
from features.snapshot_reader import current_version, read_manifest, read_tables
from lake.models import last_release
from learning.settings import LearningSettings
from learning.train import is_due
from rex.local.redis_server import Server

pytestmark = pytest.mark.process

pytest_plugins = ["tests.fixtures_redis"]
JOBS = order()
PROJECT = Path(__file__).parents[2]
AS_OF = datetime(2026, 1, 31, tzinfo=UTC)
STORIES, USERS = 30, 12
DAYS = 6
"""Of impressions: one that no snapshot precedes, three to learn and choose from, one to calibrate and one to judge on; and one for outcomes."""


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of an Airflow with a database of its own and this project's DAGs only."""
    environment = os.environ | {
        "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "airflow_dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": os.pathsep.join([str(PROJECT), str(PROJECT / "airflow_dags")]),
        # Sixteen jobs over a handful of rows: the fixed cost of a job is all there is.
        "REX_BATCH_SHUFFLE_PARTITIONS": "1",
        "REX_BATCH_ALS_RANK": "2",
        "REX_BATCH_ALS_ITERATIONS": "1",
        "REX_BATCH_TUNING_CADENCE_D": "28",
        "REX_BATCH_TUNING_BUDGET_S": "0",
    }
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)
    return environment


def run_dag(environment: dict[str, str], *arguments: str) -> tuple[Any, str]:
    """What tests/airflow_dags/run_dag.py found, and all that was logged."""
    answer = Path(environment["AIRFLOW_HOME"]) / "found.json"
    command = [sys.executable, str(Path(__file__).with_name("run_dag.py")), str(answer), *arguments]
    done = subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=300)
    log = done.stdout + done.stderr
    assert done.returncode == 0, log[-4000:]
    return json.loads(answer.read_text()), log


def on(airflow: dict[str, str], lake: Path, redis_server: Server) -> dict[str, str]:
    """The environment of an Airflow that works on `lake` and publishes to the server."""
    return airflow | {"REX_LAKE": str(lake), "REX_REDIS_URL": redis_server.url, "REX_VAR": str(lake.parent)}


def write_raw(lake: Path) -> None:
    """The least a user must bring: stories and events, without any optional column."""
    stories = [{"story_id": f"s{i}", "published_at": AS_OF - timedelta(days=1 + i / 10)} for i in range(STORIES)]
    events = [
        {
            "user_id": f"p{p}",
            "story_id": f"s{(p * 3 + i) % STORIES}",
            "type": kind,
            "occurred_at": AS_OF - timedelta(hours=1 + i),
        }
        for p in range(USERS)
        for i in range(8)
        for kind in ("open", "read")
    ]
    for name, rows in (("stories", stories), ("events", events)):
        (lake / "raw" / name).mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows), lake / "raw" / name / "part.parquet")


def write_shown(lake: Path) -> None:
    """Four new stories an hour; three times a day everybody is shown those of ten hours, and opens just those between three and six hours old.

    No single number orders that: the newest are ignored, and what is popular is past its hour.
    """
    first = AS_OF - timedelta(days=DAYS, hours=12)
    stories = [
        {"story_id": f"s{i}", "published_at": first + timedelta(minutes=15 * i)} for i in range(4 * 24 * DAYS + 48)
    ]
    events = []
    for user, sitting in itertools.product(range(USERS), range(3 * DAYS)):
        at = AS_OF - timedelta(days=DAYS) + timedelta(hours=8 * sitting + 1, minutes=user)
        recent = [s for s in stories if timedelta(0) < at - s["published_at"] < timedelta(hours=10)]
        for place, shown in enumerate(random.Random(user * 1000 + sitting).sample(recent, 12)):
            row = {"user_id": f"p{user}", "story_id": shown["story_id"], "request_id": f"r{user}-{sitting}"}
            events.append({**row, "type": "impression", "occurred_at": at, "position": place})
            if timedelta(hours=3) < at - shown["published_at"] < timedelta(hours=6):
                events.append({**row, "type": "open", "occurred_at": at + timedelta(seconds=30), "position": place})
    for name, rows in (("stories", stories), ("events", events)):
        (lake / "raw" / name).mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows), lake / "raw" / name / "part.parquet")


@pytest.fixture(scope="module")
def shape(airflow: dict[str, str]) -> dict[str, Any]:
    """Tasks, what each waits for, and what parsing the file has imported."""
    return run_dag(airflow)[0]


class TestShape:
    def test_every_job_waits_for_what_it_reads(self, shape: dict[str, Any]) -> None:
        names = {job.name for job in JOBS}
        for job in JOBS:
            reads = {f"features.{read}" for read in job.reads if read in names}
            assert set(shape["upstream"][f"features.{job.name}"]) == (reads or {"tune"})

    def test_publishes_only_what_was_checked_as_a_whole(self, shape: dict[str, Any]) -> None:
        assert shape["upstream"]["publish"] == ["checks", "train"]
        assert shape["upstream"]["train"] == ["checks"]
        assert shape["upstream"]["tune"] == ["check_raw_lake"]
        assert shape["upstream"]["check_raw_lake"] == ["archive"]
        ends = {job.name for job in JOBS} - {read for job in JOBS for read in job.reads}
        assert set(shape["upstream"]["checks"]) == {f"features.{name}" for name in ends}

    def test_runs_one_at_a_time_and_tries_again(self, shape: dict[str, Any]) -> None:
        assert shape["max_active_runs"] == 1
        assert shape["catchup"] is False
        assert set(shape["retries"].values()) == {2}

    def test_is_cheap_to_parse(self, shape: dict[str, Any]) -> None:
        assert shape["heavy"] == [], "the scheduler would load these every few seconds"


class TestRun:
    def test_ends_with_a_published_snapshot_and_a_model_that_is_due_and_better(
        self, airflow: dict[str, str], tmp_path: Path, redis_server: Server, redis_client: redis.Redis
    ) -> None:
        """The lake is held by another batch when the run starts, and has a folder that is no dataset."""
        lake = tmp_path / "lake"
        write_shown(lake)
        (lake / "raw" / "evnts").mkdir()
        learns = {"REX_BATCH_TRAINING_DAYS": str(DAYS), "REX_LEARNING_FIT_BUDGET_S": "1"}
        environment = on(airflow, lake, redis_server) | learns
        (states,), log = run_dag(environment, AS_OF.isoformat(), "beside_another")
        assert set(states.values()) == {"success"}, log[-4000:]
        assert "raw/evnts is no dataset and is not read" in log, "the check does not say what it found"
        assert "Another batch is running on the lake" in log, "it never met the other batch"
        assert len(states) == 1 + len(JOBS) + 6, "a task did not run"
        assert read_tuned(lake) is not None
        assert not tuning_is_due(lake, AS_OF + timedelta(days=1), 28)
        note = last_release(lake)
        assert note is not None, log[-4000:]
        assert not is_due(lake, AS_OF + timedelta(days=1), LearningSettings()), "tomorrow would train again"
        manifest = read_manifest(redis_client, Keys(), current_version(redis_client, Keys()))
        assert datetime.fromisoformat(manifest.as_of) == AS_OF
        assert manifest.counts["users"] == USERS
        assert manifest.model
        assert note.sha256.startswith(manifest.model)

        earlier = AS_OF - timedelta(days=1)
        runs, log = run_dag(environment, earlier.isoformat(), "publish_alone", AS_OF.isoformat(), "back_fill")
        assert [(states["run"], states["publish"]) for states in runs] == [("success", "skipped")] * 2, log[-4000:]
        assert "a later moment than 2026-01-30" in log, "the log does not say why nothing was published"
        assert "a back-fill writes features and publishes nothing" in log
        assert current_version(redis_client, Keys()) == manifest.version

    @pytest.mark.nightly(part="batch")
    def test_without_impressions_no_model_is_released_and_the_snapshot_is_published(
        self, airflow: dict[str, str], tmp_path: Path, redis_server: Server, redis_client: redis.Redis
    ) -> None:
        write_raw(tmp_path / "lake")
        (states,), log = run_dag(on(airflow, tmp_path / "lake", redis_server), AS_OF.isoformat(), "by_hand")
        assert set(states.values()) == {"success"}, log[-4000:]
        manifest = read_manifest(redis_client, Keys(), current_version(redis_client, Keys()))
        assert not manifest.model
        assert "no model is released: the training set has 0 rows" in log, "the log does not say why"
        assert read_tables(redis_client, Keys(), manifest)["stories"].num_rows == STORIES

    def test_bad_input_fails_without_retries_and_publishes_nothing(
        self, airflow: dict[str, str], tmp_path: Path, redis_server: Server, redis_client: redis.Redis
    ) -> None:
        environment = on(airflow, tmp_path / "gone", redis_server)
        (states,), log = run_dag(environment, (AS_OF + timedelta(days=1)).isoformat(), "by_hand")
        assert states["run"] == "failed"
        assert states["check_raw_lake"] == "failed"
        assert states["features.valid_stories"] == "upstream_failed"
        assert states["publish"] == "upstream_failed"
        assert f"There is no lake at {tmp_path / 'gone'}" in log, "the log does not say what is wrong"
        assert redis_client.exists(Keys().current()) == 0
