"""Commands that compute features, learn, evaluate and rank in bulk."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from features.settings import Settings
from rex.cli.console import LakeArgument, LakeOption, OptionalLake, date, out, print_check, progress, refuse, utc


def batch(
    as_of: Annotated[
        list[datetime] | None,
        typer.Option(
            "--as-of", parser=date, metavar="DATE", help="UTC, such as 2026-01-31; may be given several times"
        ),
    ] = None,
    job: Annotated[list[str] | None, typer.Option("--job", help="run only this job; its inputs must exist")] = None,
    lake: LakeOption = None,
) -> None:
    """Compute all features as they were at one moment, or at several in one pass.

    Example: [bold]rex batch --as-of 2026-01-31T00:00:00[/]
    """
    from batch.run import run
    from batch.tuning.tuned import settings_of
    from lake.check import check_lake

    now, lake = datetime.now(UTC), lake or Settings().lake
    moments = [utc(moment) for moment in as_of or [now.replace(microsecond=0)]]
    settings = settings_of(lake)
    with progress() as bars:
        checked = check_lake(lake, now, bars)
    print_check(checked)
    if checked.hints:  # other rows that are refused go to quarantine first, also where there are too many
        refuse(" ".join(checked.hints))
    with progress() as bars:
        report = run(lake, moments, now=now, settings=settings, jobs=job, progress=bars)
    out.print(report.table())


def tune(
    lake: OptionalLake = None,
    as_of: Annotated[
        datetime | None,
        typer.Option("--as-of", parser=date, metavar="DATE", help="UTC, such as 2026-01-31; default: now"),
    ] = None,
    budget_s: Annotated[
        float | None, typer.Option(min=0, max=86_400, help="seconds for trying; default: REX_BATCH_TUNING_BUDGET_S")
    ] = None,
) -> None:
    """Choose half-lives and the fit of vectors on a slice of the lake itself; later batches on this lake use them.

    Example: [bold]rex tune var/lake --as-of 2026-01-31T00:00:00[/]
    """
    import time

    from batch.settings import BatchSettings
    from batch.tuning.tune import tune as run
    from batch.tuning.tuned import tuned_table

    now, lake = datetime.now(UTC), lake or Settings().lake
    moment = utc(as_of) if as_of else now.replace(microsecond=0)
    with progress() as bars:
        settings = BatchSettings()
        budget = settings.tuning_budget_s if budget_s is None else budget_s
        tuned = run(lake, moment, time.monotonic, now=now, settings=settings, budget_s=budget, progress=bars)
    out.print(tuned_table(tuned))


def train(
    lake: OptionalLake = None,
    as_of: Annotated[
        datetime | None,
        typer.Option(
            "--as-of", parser=date, metavar="DATE", help="UTC, such as 2026-01-31; default: that of the latest batch"
        ),
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=3660, help="of examples; default: REX_BATCH_TRAINING_DAYS")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="release it even if it does not beat the baselines")] = False,
    from_examples: Annotated[
        bool, typer.Option("--from-examples", help="use the existing examples, without Spark")
    ] = False,
) -> None:
    """Learn a ranking model, evaluate it on the last days against baselines, and release it if it beats them all.

    Example: [bold]rex train var/lake --as-of 2026-01-31T00:00:00 --days 14[/]
    """
    import time

    from batch.backfill import make_examples
    from batch.tuning.tuned import settings_of
    from learning.settings import LearningSettings
    from learning.train import Trained, latest_batch, train_and_release, verdict_table

    lake = lake or Settings().lake
    settings = settings_of(lake) if days is None else settings_of(lake, training_days=days)
    learning = LearningSettings()
    moment = utc(as_of) if as_of else latest_batch(lake)
    verdicts: list[Trained] = []
    now = datetime.now(UTC)
    try:
        with progress() as bars:
            made = [] if from_examples else make_examples(lake, moment, now=now, settings=settings, progress=bars)
            _, released = train_and_release(
                lake,
                moment,
                time.monotonic,
                now=now,
                settings=learning,
                force=force,
                progress=bars,
                evaluated=verdicts.append,
            )
    finally:
        for verdict in verdicts:
            out.print(verdict_table(verdict))
            out.print(f"card: {verdict.card}", soft_wrap=True)
    for report in made:
        out.print(report.table())
    for shortfall in released.shortfalls:
        out.print(f"forced although {shortfall}")
    out.print(f"released [bold]{released.sha256[:16]}[/]; `rex publish` takes it along")


def evaluate(
    sources: Annotated[
        list[Path], typer.Argument(help="lakes, or directories with DeskDrop's files", show_default=False)
    ],
    protocol: Annotated[
        list[str] | None, typer.Option("--protocol", help="see docs/evaluation.md; default: all that fit")
    ] = None,
    negatives: Annotated[
        int | None, typer.Option(min=1, help="rank among so many sampled stories; default: among all")
    ] = None,
    baselines: Annotated[bool, typer.Option(help="evaluate collaborative filters from PyPI, too")] = True,
    budget_s: Annotated[
        float, typer.Option(min=0, max=86_400, help="seconds for choosing each one's constants")
    ] = 60.0,
    json: Annotated[Path | None, typer.Option("--json", help="write all figures as rows")] = None,
) -> None:
    """Compare Rex with baselines by several protocols, with confidence intervals.

    Example: [bold]rex eval var/lake --protocol rolling --json var/eval.json[/]
    """
    from evaluation.report import EvaluatedRows, write_rows
    from evaluation.run import evaluate as run

    found: list[EvaluatedRows] = []
    for source in sources:
        with progress() as bars:
            found += run(
                source,
                now=datetime.now(UTC),
                work=Settings().var / "eval",
                protocols=protocol,
                negatives=negatives,
                baselines=baselines,
                budget_s=budget_s,
                progress=bars,
            )
    for one in found:
        out.print(one.table())
    if json is not None:
        out.print(f"wrote {write_rows(found, json):,} rows to {json}")


def rank(
    lake: LakeArgument,
    to: Annotated[Path, typer.Option("--out", help="the Parquet file to write", show_default=False)],
    as_of: Annotated[
        datetime,
        typer.Option("--as-of", parser=date, metavar="DATE", help="UTC, such as 2026-01-31", show_default=False),
    ],
    users: Annotated[
        Path | None, typer.Option("--users", help="a file with one user_id per line; default: all")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="stories per user")] = 50,
) -> None:
    """Write ranked lists for many users, by the pipeline that serves feeds: for digests, and for evaluating it yourself.

    Example: [bold]rex rank var/lake --as-of 2026-01-31T00:00:00 --top 50 --out var/ranked.parquet[/]
    """
    from batch.tuning.tuned import settings_of
    from rex.bulk_ranking import rank as run
    from rex.bulk_ranking import read_users

    wanted = None if users is None else read_users(users)
    with progress() as bars:
        rows = run(
            lake, utc(as_of), to, now=datetime.now(UTC), users=wanted, top=top, batch=settings_of(lake), progress=bars
        )
    out.print(f"wrote {rows:,} rows to {to}")
