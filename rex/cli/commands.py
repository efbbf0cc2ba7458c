"""The one command, `rex`. Each of its commands is a few lines over the package that does the work, in the file of its group."""

from __future__ import annotations

import io
import logging
import os
import resource
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from functools import partial

import psutil
import typer

from rex.cli import batch, feeds, lake, serving
from rex.cli.console import refuse
from rex.local.faults import first_line, refusal

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of the signal, as shells have it."""
OPEN_FILES = 4096
"""Spark opens some hundred files a job, a server one a connection; many systems start processes with 1,024 and allow more."""

COMMANDS: dict[str, Callable[..., None]] = {
    "simulate": lake.simulate,
    "import": lake.import_,
    "archive": serving.archive,
    "fanout": serving.fanout,
    "timelines": serving.timelines,
    "dead-letters": serving.dead_letters,
    "check": lake.check,
    "batch": batch.batch,
    "tune": batch.tune,
    "train": batch.train,
    "eval": batch.evaluate,
    "rank": batch.rank,
    "publish": serving.publish,
    "snapshots": serving.snapshots,
    "rollback": serving.rollback,
    "serve": serving.serve,
    "feed": feeds.feed,
    "demo": feeds.demo,
}
"""In the order in which `rex --help` lists them."""

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich", help="Ranked feeds, with reasons."
)
for name, command in COMMANDS.items():
    app.command(name)(command)


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
            refuse(str(refusal(error) or _defect(error)))
    finally:
        if interrupted.is_set():
            os._exit(INTERRUPTED)  # everything has been released; Java, asked at the end, would only complain


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
        refuse("Python runs without docstrings, of which the help is made; unset PYTHONOPTIMIZE and leave out -OO.")
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
