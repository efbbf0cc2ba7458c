"""The one command, `rex`. Each command is a few lines over the package that does the work."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import resource
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import psutil
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from features.keys import Keys
from features.settings import Settings
from rex.local.faults import first_line, refusal

if TYPE_CHECKING:
    from lake.check import LakeReport

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich", help="Ranked feeds, with reasons."
)
out = Console()
err = Console(stderr=True)

LakeArgument = Annotated[Path, typer.Argument(help="directory of the lake", show_default=False)]
OptionalLake = Annotated[
    Path | None, typer.Argument(help="directory of the lake; default: REX_LAKE or var/lake", show_default=False)
]
LakeOption = Annotated[Path | None, typer.Option("--lake", help="directory of the lake; default: REX_LAKE or var/lake")]
AsOf = Annotated[list[datetime] | None, typer.Option("--as-of", help="UTC; may be given several times")]


class Service(StrEnum):
    """What `rex serve` can serve."""

    feed = "feed"
    models = "models"


SERVICES = {
    Service.feed: ("online.http.app:create_app", 8000),
    Service.models: ("rex.model_service.published_models:create_app", 8001),
}
"""Where each is made, and its usual port."""


INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of the signal, as shells have it."""
OPEN_FILES = 4096
"""Spark opens some hundred files a job, a server one a connection; many systems start processes with 1,024 and allow more."""


def main() -> None:
    """Runs the command; a user's mistake becomes one sentence and exit code 1, never a traceback."""
    _prepare()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    interrupted = threading.Event()
    signal.signal(signal.SIGINT, partial(_interrupt, interrupted))
    try:
        app()
    except Exception as error:  # noqa: BLE001 - the last place that can put it into words
        if not interrupted.is_set():
            _refuse(str(refusal(error) or _defect(error)))
    finally:
        if interrupted.is_set():
            os._exit(INTERRUPTED)  # all has been let go of; what Java is asked at the end would only complain


def _interrupt(interrupted: threading.Event, *_: object) -> None:
    """Ctrl-C: ends what runs, in silence. Whatever an error on the way says, it comes of the interrupt."""
    if interrupted.is_set():
        os._exit(INTERRUPTED)
    interrupted.set()
    if sys.stderr.isatty():
        os.write(2, b"\x1b[?25h\n")  # the cursor, which a progress bar hides
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)  # threads of PySpark and of its bridge complain of what is cut off
    for child in psutil.Process().children(recursive=True):
        if child.name() == "java":  # ignores the signal, and may not have come so far as to end with this process
            child.kill()
    raise KeyboardInterrupt


def _prepare() -> None:
    """Makes the best of the environment that the command was started in."""
    if sys.flags.optimize > 1:
        _refuse("Python runs without docstrings, of which the help is made; unset PYTHONOPTIMIZE and leave out -OO.")
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show a character shows a question mark
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < OPEN_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_FILES, hard), hard))


def _defect(error: Exception) -> str:
    """A sentence for what nobody foresaw; the traceback goes to a file."""
    what = f"This is a defect in Rex ({type(error).__name__}: {first_line(error)})"
    try:
        with tempfile.NamedTemporaryFile("w", prefix="rex-defect-", suffix=".txt", delete=False) as file:
            traceback.print_exception(error, file=file)
    except OSError:
        return f"{what}; please report it."
    return f"{what}; please report it with {file.name}."


def _refuse(sentence: str) -> NoReturn:
    err.print(Text.assemble(("rex: ", "bold red"), sentence), soft_wrap=True)
    sys.exit(1)


@contextlib.contextmanager
def progress() -> Iterator[Progress]:
    """Bars for a user at a terminal, plain lines of what is done elsewhere."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err) as bars:
        yield bars


def utc(moment: datetime) -> datetime:
    """A time without a zone is UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


@app.command()
def simulate(
    lake: LakeArgument,
    users: int = 5_000,
    stories: int = 20_000,
    events: int = 1_000_000,
    days: int = 30,
    seed: int = 7,
    ends_at: Annotated[datetime | None, typer.Option(help="end of the world, UTC; default: last midnight")] = None,
) -> None:
    """Write a synthetic Medium with known truth as a raw lake.

    Example: [bold]rex simulate var/lake --users 500 --stories 2000 --events 50000[/]
    """
    from lake.simulator.config import WorldConfig
    from lake.simulator.run import simulate as run

    end = utc(ends_at) if ends_at else datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    config = WorldConfig(users=users, stories=stories, events=events, days=days, seed=seed, ends_at=end)
    with progress() as bars:
        summary = run(config, lake, bars)
    out.print(f"wrote {summary} to {lake}")


def _list_ready(wanted: bool) -> None:
    if wanted:
        from lake.ready_files import about, ready_files

        for name, sql in ready_files().items():
            out.print(f"[bold]{name}[/]  {escape(about(sql))}", soft_wrap=True)
        raise typer.Exit


@app.command(name="import")
def import_(
    sql: Annotated[Path, typer.Argument(help="a file of SQL, or the name of a ready one", show_default=False)],
    lake: LakeArgument,
    files: Annotated[
        Path | None,
        typer.Option("--files", help="folder of the files that the SQL names; default: that of the SQL file"),
    ] = None,
    as_of: Annotated[
        datetime | None,
        typer.Option("--as-of", help="UTC; when data without dates count as received; needed for those only"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="write nothing; show the first rows, and what would be refused and why")
    ] = False,
    list_ready: Annotated[
        bool, typer.Option("--list", help="list the ready files", is_eager=True, callback=_list_ready)
    ] = False,
) -> None:
    """Bring your own data into a new raw lake: one SQL view a dataset, over CSV, TSV, JSONL or Parquet files. All rows, or none.

    Example: [bold]rex import my-site.sql var/lake[/], where my-site.sql says

    \b
    CREATE VIEW stories AS SELECT id AS story_id, date AS published_at FROM csv('posts.csv');
    CREATE VIEW events AS SELECT reader AS user_id, post AS story_id,
           'read' AS type, unix_s(ts) AS occurred_at, file, line FROM csv('clicks.csv');

    Or with a ready file: [bold]rex import movielens var/lake --files ml-latest-small[/]. docs/your-data.md has all of it.
    """
    from lake.importing.sql_import import import_sql

    with progress() as bars:
        given = {"files": files, "as_of": utc(as_of) if as_of else None, "dry_run": dry_run, "progress": bars}
        report = import_sql(sql, lake, now=datetime.now(UTC), **given)  # type: ignore[arg-type]
    for text in (*report.notes, *report.results):
        out.print(text, markup=False, highlight=False, soft_wrap=True)
    out.print(report.table())
    if not dry_run:
        out.print(f"wrote {lake}")
        return
    for name, preview in report.previews.items():
        out.print(f"{name}, first rows:\n{preview}", markup=False, highlight=False, soft_wrap=True)
    if refusal := report.refusal():
        _refuse(f"nothing would be written, because these rows are refused:\n{refusal}")


@app.command()
def archive(lake: LakeOption = None) -> None:
    """Move accepted events from Redis to the raw lake (a serving process does this by itself).

    Example: [bold]rex archive[/]
    """
    from online.streams.archiver import archive as run
    from rex.local.redis import connect

    settings = Settings()
    with connect(settings) as client:
        moved = run(client, Keys(settings.redis_prefix), lake or settings.lake)
    out.print(f"moved {moved:,} entries")


@app.command()
def fanout(
    once: Annotated[bool, typer.Option("--once", help="one round, then stop; default: until interrupted")] = False,
) -> None:
    """Bring new stories into the timelines of those who follow (a serving process does this by itself).

    Example: [bold]rex fanout --once[/]
    """
    from online.service_settings import OnlineSettings
    from online.timelines.fanout import run_fanout

    with contextlib.suppress(KeyboardInterrupt):
        done = run_fanout(Settings(), OnlineSettings(), once)
        out.print(
            f"{done.stories:,} stories brought, {done.users:,} timelines brought in line, {done.dead_letters:,} dead letters"
        )


@app.command()
def timelines(lake: LakeOption = None) -> None:
    """Make the follower index and the timelines anew, for the users whom the lake saw lately.

    Example: [bold]rex timelines[/]
    """
    from online.timelines.rebuild import rebuild_timelines

    settings = Settings()
    with progress() as bars:
        made = rebuild_timelines(settings, lake or settings.lake, bars)
    out.print(
        f"{made.users:,} timelines over {made.targets:,} authors and publications, follows as of [bold]{made.snapshot}[/]; "
        f"{made.removed:,} old keys removed"
    )


@app.command()
def dead_letters(
    newest: Annotated[int, typer.Option(min=1, max=10_000, help="how many to list")] = 20,
) -> None:
    """List the stream entries that could not be processed after several tries, and why.

    Example: [bold]rex dead-letters --newest 5[/]
    """
    from online.streams.dead_letters import dead_letters as listed
    from rex.cli.printing import dead_letters_table
    from rex.local.redis import connect

    settings = Settings()
    with connect(settings) as client:
        out.print(dead_letters_table(listed(client, Keys(settings.redis_prefix), newest)))


@app.command()
def check(lake: OptionalLake = None) -> None:
    """Look at every row of a raw lake, and say what a batch would refuse and why. Exit code 1 when it would stop.

    Example: [bold]rex check var/lake[/]
    """
    from lake.check import check_lake

    with progress() as bars:
        report = check_lake(lake or Settings().lake, datetime.now(UTC), bars)
    _print_check(report)
    if problems := report.problems():
        _refuse(" ".join(problems))


def _print_check(report: LakeReport) -> None:
    out.print(report.table())
    for line in report.lines():
        out.print(line, markup=False, highlight=False, soft_wrap=True)


@app.command()
def batch(
    as_of: AsOf = None,
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
    with progress() as bars:
        checked = check_lake(lake, now, bars)
    _print_check(checked)
    if checked.hints:  # other rows that are refused go to quarantine first, also where there are too many
        _refuse(" ".join(checked.hints))
    with progress() as bars:
        report = run(lake, moments, now=now, settings=settings_of(lake), jobs=job, progress=bars)
    out.print(report.table())


@app.command()
def tune(
    lake: OptionalLake = None,
    as_of: Annotated[datetime | None, typer.Option("--as-of", help="UTC; default: now")] = None,
    budget_s: Annotated[
        float | None, typer.Option(min=0, max=86_400, help="seconds for trying; default: tuning_budget_s")
    ] = None,
) -> None:
    """Choose half-lives and the fit of vectors on a slice of the lake itself; batches on it go by them from then on.

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
        given = {"budget_s": settings.tuning_budget_s if budget_s is None else budget_s, "progress": bars}
        given |= {"now": now, "settings": settings}
        tuned = run(lake, moment, time.monotonic, **given)  # type: ignore[arg-type]
    out.print(tuned_table(tuned))


@app.command()
def train(
    lake: OptionalLake = None,
    as_of: Annotated[datetime | None, typer.Option("--as-of", help="UTC; default: that of the latest batch")] = None,
    days: Annotated[int | None, typer.Option(min=1, max=3660, help="of examples; default: training_days")] = None,
    force: Annotated[bool, typer.Option("--force", help="release it although it does not beat the baselines")] = False,
    from_examples: Annotated[
        bool, typer.Option("--from-examples", help="learn from the examples that are there, without Spark")
    ] = False,
) -> None:
    """Learn a ranking model, evaluate it on the last days beside rankings that need no learning, and release it if it is better.

    Example: [bold]rex train var/lake --as-of 2026-01-31T00:00:00 --days 14[/]
    """
    import time

    from batch.backfill import make_examples
    from batch.tuning.tuned import settings_of
    from learning.settings import LearningSettings
    from learning.train import Trained, latest_batch, train_and_release, verdict_table

    lake = lake or Settings().lake
    settings = settings_of(lake) if days is None else settings_of(lake, training_days=days)
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
                settings=LearningSettings(),
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


@app.command(name="eval")
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
    """Evaluate Rex beside its baselines on raw lakes, by several protocols, with intervals.

    Example: [bold]rex eval var/lake --protocol rolling --json var/eval.json[/]
    """
    from evaluation.report import EvaluatedRows, write_rows
    from evaluation.run import evaluate as run

    found: list[EvaluatedRows] = []
    for source in sources:
        with progress() as bars:
            given = {
                "protocols": protocol,
                "negatives": negatives,
                "baselines": baselines,
                "budget_s": budget_s,
                "progress": bars,
            }
            found += run(source, now=datetime.now(UTC), work=Settings().var / "eval", **given)  # type: ignore[arg-type]
    for one in found:
        out.print(one.table())
    if json is not None:
        out.print(f"wrote {write_rows(found, json):,} rows to {json}")


@app.command()
def rank(
    lake: LakeArgument,
    to: Annotated[Path, typer.Option("--out", help="the Parquet file to write", show_default=False)],
    as_of: Annotated[datetime, typer.Option("--as-of", help="UTC", show_default=False)],
    users: Annotated[Path | None, typer.Option("--users", help="a file with one user_id a line; default: all")] = None,
    top: Annotated[int, typer.Option(min=1, help="stories a user")] = 50,
) -> None:
    """Write ranked lists for many users, by the pipeline that serves feeds: for digests, and for evaluating it yourself.

    Example: [bold]rex rank var/lake --as-of 2026-01-31T00:00:00 --top 50 --out var/ranked.parquet[/]
    """
    from batch.tuning.tuned import settings_of
    from rex.bulk_ranking import rank as run
    from rex.bulk_ranking import read_users

    wanted = None if users is None else read_users(users)
    with progress() as bars:
        given = {"now": datetime.now(UTC), "users": wanted, "top": top, "batch": settings_of(lake), "progress": bars}
        rows = run(lake, utc(as_of), to, **given)  # type: ignore[arg-type]
    out.print(f"wrote {rows:,} rows to {to}")


@app.command()
def publish(
    as_of: Annotated[datetime, typer.Option("--as-of", help="UTC; the features to publish")],
    lake: LakeOption = None,
    allow_older: Annotated[
        bool, typer.Option("--allow-older", help="also when the current snapshot is of a later moment")
    ] = False,
) -> None:
    """Publish the features of one moment to Redis: write, verify, flip one pointer, prune.

    Example: [bold]rex publish --as-of 2026-01-31T00:00:00[/]
    """
    from batch.publish import publish as run
    from rex.local.redis import connect

    settings = Settings()
    with connect(settings, timeout_s=10 * settings.redis_timeout_s) as client, progress() as bars:
        manifest = run(
            lake or settings.lake,
            utc(as_of),
            client,
            Keys(settings.redis_prefix),
            now=datetime.now(UTC),
            kept=settings.snapshots_kept,
            allow_older=allow_older,
            progress=bars,
        )
    out.print(
        f"published [bold]{manifest.version}[/]: {manifest.counts['stories']:,} stories, {manifest.counts['users']:,} users"
    )


@app.command()
def snapshots() -> None:
    """List the snapshots in Redis.

    Example: [bold]rex snapshots[/]
    """
    from features.snapshot_reader import snapshots as listed
    from rex.cli.printing import snapshots_table
    from rex.local.redis import connect

    settings = Settings()
    with connect(settings) as client:
        out.print(snapshots_table(listed(client, Keys(settings.redis_prefix), datetime.now(UTC))))


@app.command()
def rollback(version: Annotated[str, typer.Argument(show_default=False)]) -> None:
    """Make an older snapshot current again; serving processes follow within a second.

    Example: [bold]rex rollback 20260131T000000Z-17-9f86d081884c7d65[/]
    """
    from batch.versions import rollback as run
    from rex.local.redis import connect

    settings = Settings()
    with connect(settings) as client:
        run(client, Keys(settings.redis_prefix), version)
    out.print(f"current is now [bold]{version}[/]")


@app.command()
def serve(
    what: Annotated[Service, typer.Argument(help="the feed API, or the models that it ranks with")] = Service.feed,
    host: str = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="default: 8000 for the feed, 8001 for models")] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="processes")] = 1,
) -> None:
    """Serve the feed API, or its models as a process of their own.

    Example: [bold]rex serve --port 8000[/] or [bold]rex serve models --port 8001[/]
    """
    import uvicorn
    from uvicorn.config import LOGGING_CONFIG

    from online.service_settings import OnlineSettings
    from rex.local.http import http_client
    from rex.local.redis import connect
    from rex.local.workers import WORKER_ANSWERS_WITHIN_S
    from rex.local.workers import serve as run
    from rex.model_service.app import KEEP_ALIVE_S

    online = OnlineSettings()
    if online.models.service_url:
        http_client(online.models.service_url).close()  # here, because a worker would refuse it in many lines
    loggers = {**LOGGING_CONFIG["loggers"], "rex": {"handlers": ["default"], "level": "INFO", "propagate": False}}
    made_by, usual_port = SERVICES[what]
    with connect(Settings()):  # fails here, in one sentence, when there is no Redis; and starts it once for all workers
        config = uvicorn.Config(
            made_by,
            factory=True,
            host=host,
            port=usual_port if port is None else port,
            workers=workers,
            log_config={**LOGGING_CONFIG, "loggers": loggers},  # reaches every worker
            access_log=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_worker_healthcheck=WORKER_ANSWERS_WITHIN_S,
            root_path=online.http.root_path if what is Service.feed else "",
        )
        run(config)


@app.command()
def feed(
    user: Annotated[str, typer.Argument(help="whose feed", show_default=False)],
    limit: Annotated[int, typer.Option(min=1, max=100)] = 10,
    url: Annotated[str | None, typer.Option(help="ask this server; default: rank in this process")] = None,
    story: Annotated[str | None, typer.Option("--story", help="also tell the path of this story")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="also tell why the first story is on top")] = False,
) -> None:
    """Print one user's feed, with reasons, and the funnel it came out of.

    Example: [bold]rex feed u000042 --limit 5 --explain[/]
    """
    from rex.cli.printing import print_feed

    if url is not None:
        from rex.cli.client import fetch_feed

        page, funnel = fetch_feed(url, user, limit, story, top=explain)
    else:
        from rex.cli.offline import local_feed

        page, funnel = local_feed(Settings(), user, limit, story, top=explain)
    print_feed(out, user, page, funnel)


@app.command()
def demo(
    data: Annotated[Path | None, typer.Option(help="a DeskDrop directory instead of a simulated world")] = None,
    var: Annotated[Path, typer.Option(help="where everything is written; emptied first")] = Path("var/demo"),
    serve: Annotated[bool, typer.Option(help="keep serving after printing")] = True,
    users: int = 5_000,
    stories: int = 20_000,
    events: int = 1_000_000,
    port: int = 8000,
    redis_url: Annotated[
        str,
        typer.Option("--redis", help="publish to this Redis under rex-demo:, emptied first; default: one of its own"),
    ] = "",
) -> None:
    """The whole loop: data → features → snapshot → a ranked feed over HTTP.

    Example: [bold]rex demo --no-serve --users 500 --stories 2000 --events 50000[/]
    """
    from rex.demo import DemoConfig, run_demo

    with progress() as bars:
        run_demo(DemoConfig(data, var, serve, users, stories, events, port, redis_url), out, bars)


if __name__ == "__main__":
    main()
