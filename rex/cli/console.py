"""What the commands share: the terminal, arguments and options that several of them take, and how one ends."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

if TYPE_CHECKING:
    from lake.check import LakeReport

out = Console()
err = Console(stderr=True)

LakeArgument = Annotated[Path, typer.Argument(help="directory of the lake", show_default=False)]
OptionalLake = Annotated[
    Path | None, typer.Argument(help="directory of the lake; default: REX_LAKE or var/lake", show_default=False)
]
LakeOption = Annotated[Path | None, typer.Option("--lake", help="directory of the lake; default: REX_LAKE or var/lake")]


def refuse(sentence: str) -> NoReturn:
    """Prints what is wrong and ends the process with exit code 1."""
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


def print_check(report: LakeReport) -> None:
    """What is in a raw lake, and each reason for which rows are refused."""
    out.print(report.table())
    for line in report.lines():
        out.print(line, markup=False, highlight=False, soft_wrap=True)


def date(text: str) -> datetime:
    """A date or a time as an option has it; a usage error that shows what one looks like."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not a date; write it as 2026-01-31 or 2026-01-31T18:00:00 (UTC)."
        ) from None


def utc(moment: datetime) -> datetime:
    """A time without a zone is UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
