"""Runs the DAG once with `dag.test()`, or looks at its shape. A process of its own, for Airflow reads its settings at import.

Arguments: file for what was found (JSON), and the as_of to run; without it, nothing is run.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

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


def states(as_of: str) -> dict[str, str]:
    run = rex_daily.rex_daily.test(run_conf={"as_of": as_of})
    return {"run": str(run.state)} | {task.task_id: str(task.state) for task in run.get_task_instances()}


if __name__ == "__main__":
    found = states(sys.argv[2]) if len(sys.argv) > 2 else shape()
    Path(sys.argv[1]).write_text(json.dumps(found))
