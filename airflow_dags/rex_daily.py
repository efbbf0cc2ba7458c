"""The daily run as an Airflow DAG, made from `batch/graph.py`: archive → check the raw lake → tune, when it is due → features → checks → train, when it is due → publish.

Settings come from the workers' environment (`REX_LAKE`, `REX_REDIS_URL`, …). This file is parsed every few seconds by the
scheduler, so whatever is heavy (Spark, DuckDB) is imported inside the tasks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Param, TaskGroup, TriggerRule, task
from airflow.sdk.exceptions import AirflowFailException, AirflowRescheduleException, AirflowSkipException

from batch.graph import order
from features.errors import BadInput, InUse, Older, Unavailable
from rex.local.faults import refusal

log = logging.getLogger(__name__)
DAILY = order()
"""What a day's features need; the jobs that look back over many days run when a model is trained."""
AS_OF = "{{ params.as_of or data_interval_end | default(none) or dag_run.run_after }}"
"""The end of the day that the run is for, unless it was started by hand with another moment. A run that the API started
without a logical date is for no day and knows of no `data_interval_end`: it is as of its start."""
TRY_AGAIN_AFTER = timedelta(minutes=1)
"""How long a task stays away from a lake or a Redis that another process is writing to: no longer than many jobs take."""


@contextmanager
def retrying_only_what_may_pass() -> Iterator[None]:
    """Bad input stays bad, so such a task fails at once; an unreachable Redis or a lost machine is worth a retry.

    Whoever meets another writer comes again until that is done, which uses up no retry. There is no pool to make: the lock is
    the lake's own, and also keeps off what Airflow does not know. Features of an older day are left unpublished.
    """
    try:
        yield
    except Older as older:
        raise AirflowSkipException(str(older)) from older
    except InUse as busy:
        log.info("%s This task tries again in %s.", busy, TRY_AGAIN_AFTER)
        raise AirflowRescheduleException(datetime.now(UTC) + TRY_AGAIN_AFTER) from busy
    except Exception as error:
        match refusal(error):
            case BadInput() as final:
                raise AirflowFailException(str(final)) from error
            case Unavailable() as passing if passing is not error:
                raise passing from error
        raise


def moment(as_of: str) -> datetime:
    """`as_of` in UTC and whole seconds, as partitions are named."""
    return datetime.fromisoformat(as_of).astimezone(UTC).replace(microsecond=0)


@task
def archive() -> int:
    """Moves what the online service accepted to the raw lake, so that today's features know it."""
    from features.keys import Keys
    from features.settings import Settings
    from online.streams.archiver import archive as move
    from rex.local.redis import connect

    settings = Settings()
    with retrying_only_what_may_pass(), connect(settings) as client:
        return move(client, Keys(settings.redis_prefix), settings.lake)


@task
def check_raw_lake() -> dict[str, int]:
    """Looks at every row of the raw lake, as `rex batch` does before any job runs; logs what it refuses, returns rows per dataset."""
    from features.settings import Settings
    from lake.check import check_lake

    with retrying_only_what_may_pass():
        report = check_lake(Settings().lake, datetime.now(UTC))
        for line in report.lines():
            log.warning("%s", line)
        if report.hints:  # other rows that are refused go to quarantine first, also where there are too many
            raise BadInput(" ".join(report.hints))
    return {name: one.rows for name, one in report.datasets.items()}


@task
def tune(as_of: str) -> dict[str, float]:
    """Chooses the lake's constants, when there is a cadence and they are older; returns those that batches go by."""
    import time

    from batch.settings import BatchSettings
    from batch.tuning.tune import tune as choose
    from batch.tuning.tuned import is_due, read_tuned
    from features.settings import Settings

    lake, settings = Settings().lake, BatchSettings()
    with retrying_only_what_may_pass():
        if settings.tuning_cadence_d and is_due(lake, moment(as_of), settings.tuning_cadence_d):
            now, budget_s = datetime.now(UTC), settings.tuning_budget_s
            choose(lake, moment(as_of), time.monotonic, now=now, settings=settings, budget_s=budget_s)
        tuned = read_tuned(lake)
    return tuned.chosen if tuned else {}


@task
def compute(job: str, as_of: str) -> dict[str, int]:
    """Runs one job of the graph; returns rows written per as_of."""
    from batch.run import run
    from batch.tuning.tuned import settings_of
    from features.settings import Settings

    lake = Settings().lake
    with retrying_only_what_may_pass():
        report = run(lake, [moment(as_of)], now=datetime.now(UTC), settings=settings_of(lake), jobs=[job])
    return {at.isoformat(): rows for done in report.jobs for at, rows in done.rows.items()}


@task
def checks(as_of: str) -> dict[str, int]:
    """Checks everything that was written once more as a whole; returns rows per dataset. A failure publishes nothing."""
    from batch.checks import check_dataset
    from features.settings import Settings

    with retrying_only_what_may_pass():
        return {job.name: check_dataset(Settings().lake, job.name, moment(as_of)) for job in DAILY}


@task
def train(as_of: str) -> str:
    """Trains when the released model is older than its cadence; returns what came of it.

    What cannot be learned yet, or is not better than what needs no learning, is logged and is no failure: the last released
    model stays published.
    """
    import time

    from batch.backfill import make_examples
    from batch.constants import constants_version
    from batch.tuning.tuned import settings_of
    from features.settings import Settings
    from learning.settings import LearningSettings
    from learning.train import is_due, train_and_release

    lake, learning = Settings().lake, LearningSettings()
    with retrying_only_what_may_pass():
        now, batch = datetime.now(UTC), settings_of(lake)
        if not is_due(lake, moment(as_of), learning, constants_version(batch)):
            return "not due"
        try:
            make_examples(lake, moment(as_of), now=now, settings=batch)
            _, released = train_and_release(lake, moment(as_of), time.monotonic, now=now, settings=learning)
        except BadInput as refused:
            log.warning("no model is released: %s", refused)
            return f"no model is released: {refused}"
    return f"released {released.sha256}"


@task(trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS)
def publish(as_of: str, dag_run: Any = None) -> str:
    """Makes the features the current snapshot, with the released model; returns its version. Airflow hands in `dag_run`.

    A back-fill, and a run for an older day than the current snapshot's, write features and publish nothing: skipped.

    It waits for both the checks and the training, but only the checks can stop it: when they fail, nothing before it succeeded.
    """
    from batch.publish import publish as run
    from features.keys import Keys
    from features.settings import Settings
    from rex.local.redis import connect

    if dag_run is not None and dag_run.run_type == "backfill":
        raise AirflowSkipException("a back-fill writes features and publishes nothing")
    settings, keys = Settings(), Keys(Settings().redis_prefix)
    with retrying_only_what_may_pass(), connect(settings, timeout_s=10 * settings.redis_timeout_s) as client:
        kept = settings.snapshots_kept
        return run(settings.lake, moment(as_of), client, keys, now=datetime.now(UTC), kept=kept).version


with DAG(
    dag_id="rex_daily",
    description="archive → check → tune → features → checks → train → publish",
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
    checked, trained, published = checks(AS_OF), train(AS_OF), publish(AS_OF)
    archive() >> check_raw_lake() >> tune(AS_OF) >> features >> checked >> trained
    [checked, trained] >> published
