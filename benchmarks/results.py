"""The form of a measurement, and how measurements are written and shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table


@dataclass(frozen=True, slots=True)
class Result:
    """One measured value beside what it is compared with."""

    name: str
    value: float
    unit: str
    baseline: float | None
    """The peer or physical limit measured in the same run, same unit; None: there is none."""
    ratio: float | None
    """value / baseline."""
    bar: float | None
    """`value` must not exceed it."""
    aim: float | None
    """Where later work wants to be."""
    met: bool | None
    """Whether the bar is met; None: there is no bar."""


def measured(
    name: str,
    value: float,
    unit: str,
    *,
    baseline: float | None = None,
    bar: float | None = None,
    aim: float | None = None,
) -> Result:
    """A result with its ratio and verdict worked out."""
    ratio = value / baseline if baseline else None
    return Result(name, value, unit, baseline, ratio, bar, aim, None if bar is None else value <= bar)


def write(results: Sequence[Result], path: Path) -> None:
    """JSON rows, one per result."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")


def table(results: Sequence[Result]) -> Table:
    """For a person at a terminal."""
    shown = Table(title="Benchmarks", title_justify="left")
    for name in ("name", "value", "unit", "baseline", "ratio", "bar", "aim", "met"):
        shown.add_column(name, justify="left" if name in ("name", "unit") else "right")
    for result in results:
        cells = (result.value, result.unit, result.baseline, result.ratio, result.bar, result.aim, result.met)
        shown.add_row(result.name, *(_cell(cell) for cell in cells))
    return shown


def _cell(value: float | str | bool | None) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "[bold red]no[/]"
    return value if isinstance(value, str) else f"{value:,.2f}"
