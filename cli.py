"""The one command, `rex`. Each command is a few lines over the package that does the work."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import redis
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from features.errors import BadInput, Unavailable
from features.keys import Keys
from features.packing import CorruptValue
from features.settings import Settings

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich", help="Ranked feeds, with reasons."
)
importing = typer.Typer(no_args_is_help=True, help="Bring your own data into a raw lake.")
app.add_typer(importing, name="import")
out = Console()
err = Console(stderr=True)

LakeArgument = Annotated[Path, typer.Argument(help="directory of the lake", show_default=False)]
LakeOption = Annotated[Path | None, typer.Option("--lake", help="directory of the lake; default: REX_LAKE or var/lake")]
AsOf = Annotated[list[datetime] | None, typer.Option("--as-of", help="UTC; may be given several times")]


def main() -> None:
    """Runs the command; a user's mistake becomes one sentence and exit code 1, never a traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        app()
    except (BadInput, Unavailable, CorruptValue) as error:
        _refuse(str(error))
    except redis.RedisError as error:
        _refuse(f"Redis does not answer as it should: {error}")
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']} (got {e['input']!r})" for e in error.errors())
        _refuse(f"bad setting: {told}")


def _refuse(sentence: str) -> NoReturn:
    err.print(Text.assemble(("rex: ", "bold red"), sentence), soft_wrap=True)
    sys.exit(1)


@contextlib.contextmanager
def progress() -> Iterator[Progress]:
    """Bars for a person at a terminal, plain lines of what is done elsewhere."""
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
    people: int = 5_000,
    stories: int = 20_000,
    events: int = 1_000_000,
    days: int = 30,
    seed: int = 7,
    ends_at: Annotated[datetime | None, typer.Option(help="end of the world, UTC; default: last midnight")] = None,
) -> None:
    """Write a synthetic Medium with known truth as a raw lake.

    Example: [bold]rex simulate var/lake --people 500 --stories 2000 --events 50000[/]
    """
    from lake.simulator.config import WorldConfig
    from lake.simulator.run import simulate as run

    end = utc(ends_at) if ends_at else datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    config = WorldConfig(people=people, stories=stories, events=events, days=days, seed=seed, ends_at=end)
    with progress() as bars:
        summary = run(config, lake, bars)
    out.print(f"wrote {summary} to {lake}")


@importing.command()
def deskdrop(source: Annotated[Path, typer.Argument(show_default=False)], lake: LakeArgument) -> None:
    """Import the DeskDrop data set (users_interactions.csv, with or without shared_articles.csv).

    Example: [bold]rex import deskdrop data/deskdrop var/deskdrop[/]
    """
    from lake.deskdrop import import_deskdrop

    with progress() as bars:
        summary = import_deskdrop(source, lake, bars)
    out.print(f"wrote {summary} to {lake}")


@importing.command()
def table(mapping: Annotated[Path, typer.Argument(show_default=False)], lake: LakeArgument) -> None:
    """Import any CSV or Parquet files, described by a small TOML mapping (see docs/your-data.md).

    Example: [bold]rex import table my-site.toml var/lake[/]
    """
    from lake.table import import_table

    with progress() as bars:
        summary = import_table(mapping, lake, bars)
    out.print(f"wrote {summary} to {lake}")


@app.command()
def archive(lake: LakeOption = None) -> None:
    """Move accepted events from Redis to the raw lake (a serving process does this by itself).

    Example: [bold]rex archive[/]
    """
    from local.redis import connect
    from online.archiver import archive as run

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
    from online.settings import OnlineSettings
    from online.timelines.fanout import run_fanout

    with contextlib.suppress(KeyboardInterrupt):
        done = run_fanout(Settings(), OnlineSettings(), once)
        out.print(
            f"{done.stories:,} stories brought, {done.people:,} timelines brought in line, {done.parked:,} parked"
        )


@app.command()
def timelines(lake: LakeOption = None) -> None:
    """Make the follower index and the timelines anew, for the people whom the lake saw lately.

    Example: [bold]rex timelines[/]
    """
    from online.timelines.rebuild import rebuild_timelines

    settings = Settings()
    with progress() as bars:
        made = rebuild_timelines(settings, lake or settings.lake, bars)
    out.print(
        f"{made.people:,} timelines over {made.targets:,} authors and publications, follows as of [bold]{made.snapshot}[/]; "
        f"{made.removed:,} old keys removed"
    )


@app.command()
def parked(
    newest: Annotated[int, typer.Option(min=1, max=10_000, help="how many to list")] = 20,
) -> None:
    """List the stream entries that could not be processed after several tries, and why.

    Example: [bold]rex parked --newest 5[/]
    """
    from local.redis import connect
    from online.parking import parked as listed
    from online.printing import parked_table

    settings = Settings()
    with connect(settings) as client:
        out.print(parked_table(listed(client, Keys(settings.redis_prefix), newest)))


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
    from batch.settings import BatchSettings

    now = datetime.now(UTC)
    moments = [utc(moment) for moment in as_of or [now.replace(microsecond=0)]]
    with progress() as bars:
        report = run(lake or Settings().lake, moments, now=now, settings=BatchSettings(), jobs=job, progress=bars)
    out.print(report.table())


@app.command()
def publish(
    as_of: Annotated[datetime, typer.Option("--as-of", help="UTC; the features to publish")], lake: LakeOption = None
) -> None:
    """Publish the features of one moment to Redis: write, verify, flip one pointer, prune.

    Example: [bold]rex publish --as-of 2026-01-31T00:00:00[/]
    """
    from batch.publish import publish as run
    from local.redis import connect

    settings = Settings()
    with connect(settings, timeout_s=10 * settings.redis_timeout_s) as client, progress() as bars:
        manifest = run(
            lake or settings.lake,
            utc(as_of),
            client,
            Keys(settings.redis_prefix),
            now=datetime.now(UTC),
            kept=settings.snapshots_kept,
            progress=bars,
        )
    out.print(
        f"published [bold]{manifest.version}[/]: {manifest.counts['stories']:,} stories, {manifest.counts['people']:,} people"
    )


@app.command()
def snapshots() -> None:
    """List the snapshots in Redis.

    Example: [bold]rex snapshots[/]
    """
    from features.snapshot_reader import snapshots as listed
    from local.redis import connect
    from online.printing import snapshots_table

    settings = Settings()
    with connect(settings) as client:
        out.print(snapshots_table(listed(client, Keys(settings.redis_prefix), datetime.now(UTC))))


@app.command()
def rollback(version: Annotated[str, typer.Argument(show_default=False)]) -> None:
    """Make an older snapshot current again; serving processes follow within a second.

    Example: [bold]rex rollback 20260131T000000Z-17[/]
    """
    from batch.versions import rollback as run
    from local.redis import connect

    settings = Settings()
    with connect(settings) as client:
        run(client, Keys(settings.redis_prefix), version)
    out.print(f"current is now [bold]{version}[/]")


@app.command()
def serve(
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="processes")] = 1,
) -> None:
    """Serve the feed API.

    Example: [bold]rex serve --port 8000[/]
    """
    import uvicorn
    from uvicorn.config import LOGGING_CONFIG

    from local.redis import connect

    loggers = {**LOGGING_CONFIG["loggers"], "rex": {"handlers": ["default"], "level": "INFO", "propagate": False}}
    with connect(Settings()):  # fails here, in one sentence, when there is no Redis; and starts it once for all workers
        uvicorn.run(
            "online.app:create_app",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            log_config={**LOGGING_CONFIG, "loggers": loggers},  # reaches every worker
            access_log=False,
        )


@app.command()
def feed(
    user: Annotated[str, typer.Argument(help="whose feed", show_default=False)],
    limit: Annotated[int, typer.Option(min=1, max=100)] = 10,
    url: Annotated[str | None, typer.Option(help="ask this server; default: rank in this process")] = None,
    story: Annotated[str | None, typer.Option("--story", help="also tell the path of this story")] = None,
) -> None:
    """Print one person's feed, with reasons, and the funnel it came out of.

    Example: [bold]rex feed u000042 --limit 5[/]
    """
    from online.printing import print_feed

    if url is not None:
        from online.client import fetch_feed

        page, funnel = fetch_feed(url, user, limit, story)
    else:
        from online.offline import local_feed

        page, funnel = local_feed(Settings(), user, limit, story)
    print_feed(out, user, page, funnel)


@app.command()
def demo(
    data: Annotated[Path | None, typer.Option(help="a DeskDrop directory instead of a simulated world")] = None,
    var: Annotated[Path, typer.Option(help="where everything is written; emptied first")] = Path("var/demo"),
    serve: Annotated[bool, typer.Option(help="keep serving after printing")] = True,
    people: int = 5_000,
    stories: int = 20_000,
    events: int = 1_000_000,
    port: int = 8000,
) -> None:
    """The whole loop: data → features → snapshot → a ranked feed over HTTP.

    Example: [bold]rex demo --no-serve --people 500 --stories 2000 --events 50000[/]
    """
    from demo import DemoConfig, run_demo

    with progress() as bars:
        run_demo(DemoConfig(data, var, serve, people, stories, events, port), out, bars)


if __name__ == "__main__":
    main()
