"""`python -m benchmarks [NAME ...]`: measures, shows it, writes `var/bench/results.json`; exit 1 if a bar is missed.

With `--record` a whole run is also kept as `docs/benchmarks.json`, from which `make docs` writes docs/benchmarks.md.

Names: feed, cached_page, freshness, timelines, models, simulate; without any, all of them.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from benchmarks import cached_page, feed, freshness, models, simulate, timelines
from benchmarks.results import RECORDED, Result, record, table, write

RESULTS = Path("var/bench/results.json")


def main() -> int:
    """Runs the benchmarks one after the other: they share the cores."""
    every: dict[str, Callable[[Progress], list[Result]]] = {
        "feed": feed.measure,
        "cached_page": cached_page.measure,
        "freshness": freshness.measure,
        "timelines": timelines.measure,
        "models": models.measure,
        "simulate": simulate.measure,
    }
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Rex beside peers and limits.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure: {', '.join(every)}; default: all")
    parser.add_argument("--record", action="store_true", help=f"keep the figures as {RECORDED}; run `make docs` then")
    given = parser.parse_args()
    wanted = given.names or list(every)
    if unknown := set(wanted) - set(every):
        parser.error(f"there is no {', '.join(sorted(unknown))}; choose among {', '.join(every)}")
    if given.record and set(wanted) != set(every):
        parser.error("--record keeps the figures of one whole run; leave out the names")
    with Progress(console=Console(stderr=True)) as progress:
        results = [result for name in wanted for result in every[name](progress)]
    write(results, RESULTS)
    if given.record:
        machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
        record(results, f"{datetime.now(UTC):%Y-%m-%d}", machine)
    console = Console(width=140)
    console.print(table(results))
    console.print(f"written to {RESULTS}")
    return int(any(result.met is False for result in results))


if __name__ == "__main__":
    sys.exit(main())
