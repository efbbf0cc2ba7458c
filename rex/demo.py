"""The whole loop on one machine, with the real parts: data, Spark, Parquet, Redis, HTTP."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import redis
from rich.console import Console, RenderableType
from rich.progress import Progress

from batch.backfill import make_examples
from batch.publish import publish
from batch.settings import BatchSettings
from features.duckdb_views import connect as views
from features.errors import BadInput
from features.keys import Keys
from features.settings import Settings
from features.snapshot import Manifest
from lake.importing.sql_import import import_sql
from lake.ready_files import deskdrop
from lake.simulator.config import WorldConfig
from lake.simulator.run import simulate
from learning.settings import LearningSettings
from learning.train import Trained, lead_line, train_and_release, verdict_table
from online.rankers.learned import MODEL_SERVICE
from rex.cli.client import fetch_feed
from rex.cli.printing import print_feed
from rex.local.http import child_service
from rex.local.redis import connect

MARKER = ".rex-demo"
"""Stands in a directory that a demo wrote and may empty."""
PREFIX = "rex-demo:"
"""Of all keys in a Redis that a demo did not start: a site may be in it."""
MANY_EVENTS = 300_000
"""Every moment that is learned from goes through all events before it: of so many, two moments take as long as all else."""
FEW = BatchSettings(
    training_schedule_h=72, training_days=45, training_refit_d=24, als_rank=16, als_iterations=4, shuffle_partitions=2
)
"""Six weeks of a lake with few events, with the features of every third day and two fits. Vectors half as long as by default
take a quarter of the time, and can be seen at work as well."""
MANY = FEW.model_copy(update={"training_days": 6})
"""Of a lake with many, two moments and one refit, with four to six days of examples."""
MODEL_TIMEOUT_MS = "2000"
"""The first ranking of two young processes, on a machine that may have more to do, is the one that is shown."""
LEARNING = LearningSettings(fit_budget_s=15.0)
"""The first choices of each outcome, which are seldom far off."""


@dataclass(frozen=True, slots=True)
class DemoConfig:
    """What to show: `data` is a DeskDrop directory; None: a simulated world of the given size."""

    data: Path | None
    var: Path
    serve: bool
    users: int
    stories: int
    events: int
    port: int
    redis_url: str = ""
    """A Redis to use, under PREFIX; empty: one of its own."""


def run_demo(config: DemoConfig, out: Console, progress: Progress) -> None:
    """Data → features → models → snapshot → served feed, printed; then serves on, if asked to, until interrupted."""
    now = datetime.now(UTC)
    _empty(config.var)
    settings = settings_for(config)
    as_of = _bring_data(config, settings.lake, now, progress)
    batch = batch_settings(settings.lake)
    make_examples(settings.lake, as_of, now=now, settings=batch, progress=progress, daily=True)
    verdict = _learn(settings.lake, as_of, now, progress)
    with connect(settings, timeout_s=10 * settings.redis_timeout_s) as client:
        if config.redis_url:
            empty_prefix(client)
        keys = Keys(settings.redis_prefix)
        manifest = publish(settings.lake, as_of, client, keys, now=now, kept=settings.snapshots_kept, progress=progress)
        with _serving(settings, as_of, config.port, manifest, in_the_past=config.data is not None) as url:
            progress.stop()
            out.print(*verdict, sep="\n", soft_wrap=True)
            user = someone(settings.lake, as_of)
            first, _ = fetch_feed(url, user, 1, None, top=True)  # the first explanation loads what explains: seconds
            page, funnel = fetch_feed(url, user, 10, first["items"][0]["story_id"] if first["items"] else None)
            print_feed(out, user, page, funnel)
            out.print(f"ranked by [bold]{ranked_by(page)}[/]")
            if config.serve:
                _serve_on(out, url, user)


def settings_for(config: DemoConfig) -> Settings:
    """Neither the lake nor the Redis of the site that the environment may name."""
    var, lake = config.var, config.var / "lake"
    if config.redis_url:
        return Settings(var=var, lake=lake, redis_url=config.redis_url, redis_prefix=PREFIX)
    return Settings(var=var, lake=lake, redis_url="")


def child_environment(settings: Settings) -> dict[str, str]:
    """What makes `settings` those of a child process too, whatever this one's environment says."""
    return {
        "REX_VAR": str(settings.var),
        "REX_LAKE": str(settings.lake),
        "REX_REDIS_URL": settings.redis_url,
        "REX_REDIS_PREFIX": settings.redis_prefix,
        "REX_ONLINE_MODELS_SERVICE_URL": "",
    }


def empty_prefix(client: redis.Redis) -> None:
    """Removes what an earlier demo left under PREFIX: its streams and snapshots are of another world."""
    for key in client.scan_iter(f"{PREFIX}*", count=1000):
        client.unlink(key)


def batch_settings(lake: Path) -> BatchSettings:
    """As much of the past to learn from as the minutes of a demo allow."""
    with views(lake) as db:
        [(events,)] = db.execute("SELECT count(*) FROM events").fetchall()
    return MANY if events > MANY_EVENTS else FEW


def _learn(lake: Path, as_of: datetime, now: datetime, progress: Progress) -> list[RenderableType]:
    """Trains and releases a model; returns what to print about it. Without a model the demo shows the named weights at work."""
    evaluated: list[Trained] = []
    try:
        train_and_release(
            lake, as_of, time.monotonic, now=now, settings=LEARNING, progress=progress, evaluated=evaluated.append
        )
    except BadInput as refused:
        return [*described(evaluated), f"[bold]the feed below is ranked by named weights alone[/]: {refused}"]
    return described(evaluated)


def described(evaluated: list[Trained]) -> list[RenderableType]:
    """The verdict and where the model card is."""
    return [line for one in evaluated for line in (verdict_table(one), lead_line(one), f"model card: {one.card}")]


def ranked_by(page: Mapping[str, Any]) -> str:
    """What put the page's items into their order, in words."""
    name = page["slate"]["model"]
    if not name.startswith("learned-"):
        return f"the first-stage ranker ({name}): named weights"
    if MODEL_SERVICE in page["degraded"]:
        return f"the first-stage ranker: the model service did not score with {name} in time"
    return f"the learned model ({name}), scored by the model service"


def someone(lake: Path, as_of: datetime) -> str:
    """A user with more reads than nine in ten: someone whom the features know, but no outlier."""
    with views(lake, as_of) as db:
        by_reads = db.execute("SELECT user_id FROM user_profiles ORDER BY len(read), user_id").fetchall()
    if not by_reads:
        raise BadInput(f"{lake} knows no users; a demo needs events.")
    return str(by_reads[len(by_reads) * 9 // 10][0])


def _empty(var: Path) -> None:
    if var.exists() and not var.is_dir():
        raise BadInput(f"{var} is a file; name a directory with --var.")
    if var.exists() and any(var.iterdir()) and not (var / MARKER).exists():
        raise BadInput(f"{var} is not empty and no demo wrote it; name another directory with --var.")
    shutil.rmtree(var, ignore_errors=True)
    var.mkdir(parents=True)
    (var / MARKER).touch()


def _bring_data(config: DemoConfig, lake: Path, now: datetime, progress: Progress) -> datetime:
    """Writes the raw lake; returns the moment at which its world ends."""
    if config.data is not None:
        import_sql(deskdrop(config.data), lake, files=config.data, now=now, progress=progress)
        return _last_moment(lake)
    end = now.replace(hour=0, minute=0, second=0, microsecond=0)
    world = WorldConfig(users=config.users, stories=config.stories, events=config.events, ends_at=end)
    simulate(world, lake, progress)
    return end


def _last_moment(lake: Path) -> datetime:
    """The first whole second after the last event."""
    with views(lake) as db:
        [(last_us,)] = db.execute("SELECT max(epoch_us(occurred_at)) FROM events").fetchall()
    if last_us is None:
        raise BadInput(f"{lake} has no events; a demo needs some.")
    return datetime.fromtimestamp(last_us // 1_000_000, UTC) + timedelta(seconds=1)


@contextmanager
def _serving(settings: Settings, as_of: datetime, port: int, manifest: Manifest, in_the_past: bool) -> Iterator[str]:
    """The model service, where there is a model, and the feed service: processes of their own. Where the data are of the past,
    the feed's clock starts at their end; else it is the wall clock, so that clients can send what happens now."""
    environment = {
        **child_environment(settings),
        "REX_ONLINE_AS_IF": as_of.isoformat() if in_the_past else "",
        "REX_ONLINE_MODELS_TIMEOUT_MS": MODEL_TIMEOUT_MS,
    }
    with ExitStack() as services:
        if manifest.model:
            started = child_service(["serve", "models"], port + 1, environment, settings.var / "models.log")
            environment["REX_ONLINE_MODELS_SERVICE_URL"] = services.enter_context(started)
        current = child_service(
            ["serve"],
            port,
            environment,
            settings.var / "serve.log",
            lambda ready: bool(ready.get("snapshot") == manifest.version),
        )
        yield services.enter_context(current)


def _serve_on(out: Console, url: str, user: str) -> None:
    out.print(f"\nServing on [bold]{url}[/] until you press Ctrl-C. Try:")
    for path in (f"/v1/users/{user}/feed", f"/v1/users/{user}/feed/explain", "/v1/snapshots", "/docs"):
        out.print(f"  {url}{path}", soft_wrap=True)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        out.print("stopped")
