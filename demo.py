"""The whole loop on one machine, with the real parts: data, Spark, Parquet, Redis, HTTP."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import Progress

from batch.publish import publish
from batch.run import run
from batch.settings import BatchSettings
from features.duckdb_views import connect as views
from features.errors import BadInput, Unavailable
from features.keys import Keys
from features.settings import Settings
from lake.deskdrop import import_deskdrop
from lake.simulator.config import WorldConfig
from lake.simulator.run import simulate
from local.redis import connect
from online.client import fetch_feed
from online.printing import print_feed

MARKER = ".rex-demo"
"""Stands in a directory that a demo wrote and may empty."""
READY_WITHIN_S = 60
"""Loading a demo's snapshot takes about a second; a minute is a machine in trouble."""


@dataclass(frozen=True, slots=True)
class DemoConfig:
    """What to show: `data` is a DeskDrop directory; None: a simulated world of the given size."""

    data: Path | None
    var: Path
    serve: bool
    people: int
    stories: int
    events: int
    port: int


def run_demo(config: DemoConfig, out: Console, progress: Progress) -> None:
    """Data → features → snapshot → served feed, printed; then serves on, if asked to, until interrupted."""
    now = datetime.now(UTC)
    _empty(config.var)
    settings = Settings(var=config.var, lake=config.var / "lake")
    as_of = _bring_data(config, settings.lake, now, progress)
    run(settings.lake, [as_of], now=now, settings=BatchSettings(), progress=progress)
    with connect(settings, timeout_s=10 * settings.redis_timeout_s) as client:
        keys = Keys(settings.redis_prefix)
        manifest = publish(settings.lake, as_of, client, keys, now=now, kept=settings.snapshots_kept, progress=progress)
        with _serving(settings, as_of, config.port, manifest.version) as url:
            progress.stop()
            person = someone(settings.lake)
            page, funnel = fetch_feed(url, person, 10, None)
            print_feed(out, person, page, funnel)
            if config.serve:
                _serve_on(out, url, person)


def someone(lake: Path) -> str:
    """A person with more reads than nine in ten: someone whom the features know, but no outlier."""
    with views(lake) as db:
        by_reads = db.execute("SELECT user_id FROM user_profiles ORDER BY len(read), user_id").fetchall()
    if not by_reads:
        raise BadInput(f"{lake} knows no people; a demo needs events.")
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
        import_deskdrop(config.data, lake, progress)
        return _last_moment(lake)
    end = now.replace(hour=0, minute=0, second=0, microsecond=0)
    world = WorldConfig(people=config.people, stories=config.stories, events=config.events, ends_at=end)
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
def _serving(settings: Settings, as_of: datetime, port: int, version: str) -> Iterator[str]:
    """A feed service in a process of its own, whose clock starts where the data end."""
    environment = {
        **os.environ,
        "REX_VAR": str(settings.var),
        "REX_LAKE": str(settings.lake),
        "REX_ONLINE_AS_IF": as_of.isoformat(),
    }
    log = (settings.var / "serve.log").open("w")
    command = [sys.executable, "-m", "cli", "serve", "--port", str(port)]
    with log, subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(url, process, version, settings.var / "serve.log")
            yield url
        finally:
            process.terminate()
            process.wait()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], version: str, log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            answer = httpx.get(f"{url}/readyz", timeout=5.0)
            if answer.status_code == httpx.codes.OK and answer.json().get("snapshot") == version:
                return  # our own service, not another one on this port
        except httpx.TransportError:
            pass  # not listening yet
        time.sleep(0.2)
    raise Unavailable(f"the feed service did not become ready at {url}; its last words are in {log}.")


def _serve_on(out: Console, url: str, person: str) -> None:
    out.print(f"\nServing on [bold]{url}[/] until you press Ctrl-C. Try:")
    for path in (
        f"/v1/users/{person}/feed",
        f"/v1/users/{person}/feed/explain",
        "/v1/snapshots",
        "/docs",
    ):
        out.print(f"  {url}{path}", soft_wrap=True)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        out.print("stopped")
