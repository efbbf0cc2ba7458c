"""The daily run as an Airflow DAG, made from `batch/graph.py`: archive → features → checks → publish.

Settings come from the workers' environment (`REX_LAKE`, `REX_REDIS_URL`, …). This file is parsed every few seconds by the
scheduler, so whatever is heavy (Spark, DuckDB) is imported inside the tasks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Param, TaskGroup, task
from airflow.sdk.exceptions import AirflowFailException

from batch.graph import order
from features.errors import BadInput

DAILY = order()
"""What a day's features need; the jobs that look back over many days run when a model is trained."""
AS_OF = "{{ params.as_of or data_interval_end or dag_run.run_after }}"
"""The end of the day that the run is for, unless it was started by hand with another moment."""


@contextmanager
def retrying_only_what_may_pass() -> Iterator[None]:
    """Bad input stays bad, so such a task fails at once; an unreachable Redis or a lost machine is worth a retry."""
    try:
        yield
    except BadInput as error:
        raise AirflowFailException(str(error)) from error


def moment(as_of: str) -> datetime:
    """`as_of` in UTC and whole seconds, as partitions are named."""
    return datetime.fromisoformat(as_of).astimezone(UTC).replace(microsecond=0)


@task
def archive() -> int:
    """Moves what the online service accepted to the raw lake, so that today's features know it."""
    from features.keys import Keys
    from features.settings import Settings
    from local.redis import connect
    from online.archiver import archive as move

    settings = Settings()
    with retrying_only_what_may_pass(), connect(settings) as client:
        return move(client, Keys(settings.redis_prefix), settings.lake)


@task
def compute(job: str, as_of: str) -> dict[str, int]:
    """Runs one job of the graph; returns rows written per as_of."""
    from batch.run import run
    from batch.settings import BatchSettings
    from features.settings import Settings

    with retrying_only_what_may_pass():
        report = run(Settings().lake, [moment(as_of)], now=datetime.now(UTC), settings=BatchSettings(), jobs=[job])
    return {at.isoformat(): rows for done in report.jobs for at, rows in done.rows.items()}


@task
def checks(as_of: str) -> dict[str, int]:
    """Checks everything that was written once more as a whole; returns rows per dataset. A failure publishes nothing."""
    from batch.checks import check_dataset
    from features.settings import Settings

    with retrying_only_what_may_pass():
        return {job.name: check_dataset(Settings().lake, job.name, moment(as_of)) for job in DAILY}


@task
def publish(as_of: str) -> str:
    """Makes the features the current snapshot; returns its version."""
    from batch.publish import publish as run
    from features.keys import Keys
    from features.settings import Settings
    from local.redis import connect

    settings, keys = Settings(), Keys(Settings().redis_prefix)
    with retrying_only_what_may_pass(), connect(settings, timeout_s=10 * settings.redis_timeout_s) as client:
        kept = settings.snapshots_kept
        return run(settings.lake, moment(as_of), client, keys, now=datetime.now(UTC), kept=kept).version


with DAG(
    dag_id="rex_daily",
    description="archive → features → checks → publish",
    doc_md=__doc__,
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    # Spark uses all cores of the machine by itself, and only one batch may write to a lake at a time.
    max_active_tasks=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    params={
        "as_of": Param(None, type=["null", "string"], format="date-time", description="another moment, with its zone")
    },
) as rex_daily:
    with TaskGroup("features") as features:
        computed = {job.name: compute.override(task_id=job.name)(job.name, AS_OF) for job in DAILY}
        for job in DAILY:
            [computed[read] for read in job.reads if read in computed] >> computed[job.name]
    archive() >> features >> checks(AS_OF) >> publish(AS_OF)
