"""The form of a measurement, and how measurements are written and shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from rich.table import Table

RECORDED = Path(__file__).parents[1] / "docs" / "benchmarks.json"


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


COLUMNS = tuple(field.name for field in fields(Result))


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


def record(results: Sequence[Result], date: str, machine: str) -> None:
    """Keeps a whole run for the docs: `{"date", "machine", "results"}`."""
    kept = {"date": date, "machine": machine, "results": [asdict(result) for result in results]}
    RECORDED.write_text(json.dumps(kept, indent=1) + "\n")


def recorded() -> tuple[str, str, list[Result]]:
    """Date, machine and results of the run that the docs show."""
    kept = json.loads(RECORDED.read_text())
    return kept["date"], kept["machine"], [Result(**row) for row in kept["results"]]


def table(results: Sequence[Result]) -> Table:
    """For a user at a terminal."""
    shown = Table(title="Benchmarks", title_justify="left")
    for name in COLUMNS:
        shown.add_column(name, justify="left" if name in ("name", "unit") else "right")
    for result in results:
        shown.add_row(*cells(result))
    return shown


def cells(result: Result) -> list[str]:
    """The result as text, one cell for each of COLUMNS."""
    return [_cell(getattr(result, name)) for name in COLUMNS]


def _cell(value: float | str | bool | None) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else f"{value:,.2f}"
