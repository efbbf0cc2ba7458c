"""Commands that publish, serve and keep what is served up to date."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from features.keys import Keys
from features.settings import Settings
from rex.cli.console import LakeOption, date, out, progress, utc


class Service(StrEnum):
    """What `rex serve` can serve."""

    feed = "feed"
    models = "models"


SERVICES = {
    Service.feed: ("online.http.app:create_app", 8000),
    Service.models: ("rex.model_service.app:create_app", 8001),
}
"""Where each is made, and its usual port."""


def publish(
    as_of: Annotated[
        datetime,
        typer.Option(
            "--as-of", parser=date, metavar="DATE", help="the features of which moment, UTC, such as 2026-01-31"
        ),
    ],
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


def snapshots() -> None:
    """List the snapshots in Redis.

    Example: [bold]rex snapshots[/]
    """
    from features.snapshot_reader import snapshots as listed
    from rex.cli.printing import snapshots_table
    from rex.local.redis import connect

    settings = Settings()
    with connect(settings) as client:
        found = listed(client, Keys(settings.redis_prefix), datetime.now(UTC))
    out.print(snapshots_table(found) if found else "No snapshot has been published; run `rex publish`.")


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


def serve(
    what: Annotated[Service, typer.Argument(help="the feed API, or the models that it ranks with")] = Service.feed,
    host: str = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="default: 8000 for the feed, 8001 for models")
    ] = None,
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


def timelines(lake: LakeOption = None) -> None:
    """Rebuild the follower index and the timelines, for the users whom the lake saw lately.

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


def dead_letters(newest: Annotated[int, typer.Option(min=1, max=10_000, help="how many to list")] = 20) -> None:
    """List the stream entries that could not be processed after several tries, and why.

    Example: [bold]rex dead-letters --newest 5[/]
    """
    from online.streams.dead_letters import dead_letters as listed
    from rex.cli.printing import dead_letters_table
    from rex.local.redis import connect

    settings = Settings()
    with connect(settings) as client:
        found = listed(client, Keys(settings.redis_prefix), newest)
    out.print(dead_letters_table(found) if found else "There are no dead letters.")
