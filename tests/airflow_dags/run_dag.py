"""Runs the DAG with `dag.test()`, or looks at its shape. A process of its own, for Airflow reads its settings at import.

Arguments: file for what was found (JSON), and for each run the as_of and how: a function of HOW. Without a run, the shape is looked at.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import rex_daily  # type: ignore[import-not-found]  # in the DAGs folder, as Airflow finds it


def shape() -> dict[str, object]:
    dag = rex_daily.rex_daily
    return {
        "upstream": {task.task_id: sorted(task.upstream_task_ids) for task in dag.tasks},
        "retries": {task.task_id: task.retries for task in dag.tasks},
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "heavy": sorted({"pyspark", "duckdb", "redis", "sklearn"} & sys.modules.keys()),
    }


def by_hand(as_of: str) -> Any:
    return rex_daily.rex_daily.test(run_conf={"as_of": as_of})


def publish_alone(as_of: str) -> Any:
    """As if all else had been done."""
    return rex_daily.rex_daily.test(run_conf={"as_of": as_of}, mark_success_pattern="(?!publish$).*")


def back_fill(as_of: str) -> Any:
    """`publish_alone`, in a run of the type that `airflow backfill create` makes."""
    from airflow.models import dagrun

    made = dagrun.get_or_create_dagrun

    def of_that_type(*args: Any, session: Any, **more: Any) -> Any:
        run = made(*args, session=session, **more)
        run.run_type = "backfill"
        session.commit()
        return run

    with patch.object(dagrun, "get_or_create_dagrun", of_that_type):
        return publish_alone(as_of)


def beside_another(as_of: str) -> Any:
    """Without a logical date, as the API starts runs; and another batch holds the lake until a task has met it."""
    from features.settings import Settings

    rex_daily.TRY_AGAIN_AFTER = timedelta(seconds=1)
    runs = Settings().lake / "features" / "_runs"
    runs.mkdir(parents=True)
    lock = (runs / ".lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)

    def release_soon() -> None:
        met, until = False, time.monotonic() + 60
        while not met and time.monotonic() < until:
            time.sleep(0.2)
            # Not by Airflow's own models: two threads that import them at once wait for each other.
            with closing(sqlite3.connect(Path(os.environ["AIRFLOW_HOME"]) / "airflow.db")) as database:
                met = database.execute("SELECT 1 FROM task_reschedule").fetchone() is not None
        lock.close()

    threading.Thread(target=release_soon, daemon=True).start()
    return rex_daily.rex_daily.test(logical_date=None, run_after=datetime.fromisoformat(as_of))


HOW: dict[str, Callable[[str], Any]] = {f.__name__: f for f in (by_hand, publish_alone, back_fill, beside_another)}


def states(as_of: str, how: str) -> dict[str, str]:
    run = HOW[how](as_of)
    return {"run": str(run.state)} | {task.task_id: str(task.state) for task in run.get_task_instances()}


if __name__ == "__main__":
    answer, *runs = sys.argv[1:]
    found = [states(*run) for run in zip(runs[::2], runs[1::2], strict=True)] or shape()
    Path(answer).write_text(json.dumps(found))
