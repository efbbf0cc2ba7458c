"""`rex eval`: protocols × systems on any raw lake, as a table and as rows."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from evaluation.evaluating import evaluate_systems
from evaluation.protocols import PROTOCOLS
from evaluation.ranking import Budget, System
from evaluation.reading_log import Log, read_log
from evaluation.report import EvaluatedRows, Evaluation
from evaluation.split_snapshots import SplitSnapshots
from evaluation.systems.rex import Rex
from evaluation.systems.simple import DecayedPopularity, NewestFirst, Popularity
from evaluation.task import Split
from evaluation.true_interest import PROTOCOL as TRUE_INTEREST
from evaluation.true_interest import evaluate_by_truth
from features.errors import BadInput
from features.undated import refuse_undated
from lake.importing.sql_import import import_sql
from lake.ready_files import DESKDROP_EVENTS, deskdrop
from online.rankers.protocol import Ranker
from online.rankers.weighted import Weighted

RANKERS: tuple[Ranker | None, ...] = (None, Weighted())
"""What is shipped, learned, beside the named weights that it starts from."""


def evaluate(
    source: Path,
    *,
    now: datetime,
    work: Path,
    data: str | None = None,
    protocols: Sequence[str] | None = None,
    negatives: int | None = None,
    rankers: Sequence[Ranker | None] = RANKERS,
    baselines: bool = True,
    budget_s: float = Budget().seconds,
    console: Console | None = None,
    progress: Progress | None = None,
) -> list[EvaluatedRows]:
    """Evaluates Rex, once per ranker (None: models learned from what each task knows), and its baselines on a raw lake.

    `source`: a lake, or a directory with DeskDrop's files. `protocols`: names of evaluation.protocols.PROTOCOLS, or
    TRUE_INTEREST for a simulated lake; None: all that fit, with a line on `console` for each that does not. `negatives`: rank
    every positive among so many sampled stories instead of all. `budget_s`: time for choosing each system's constants. Nothing
    is written into the lake; `work` holds what the batch computes and is removed.
    BadInput for a lake without reads or without dates, an unknown protocol, and a protocol asked for by name that does not fit.
    """
    console = console or Console(stderr=True)
    with _lake_of(source, work, now) as lake:
        refuse_undated(
            lake, "rankings cannot be evaluated on it yet, because every protocol ranks at a moment of the past."
        )
        log, data = read_log(lake), data or source.name
        found: list[EvaluatedRows] = []
        for split in _splits(log, protocols, negatives, console):
            with _scratch(work) as scratch:
                snapshots = SplitSnapshots(lake, scratch / "rex", now=now, tuning_s=budget_s, progress=progress)
                systems = _rex(snapshots, rankers) + _simple(budget_s) + _baselines(baselines, budget_s, console)
                found.append(Evaluation(data, split, evaluate_systems(log, split, systems, progress)))
        if TRUE_INTEREST in (protocols or ()) or (protocols is None and (lake / "world").is_dir()):
            with _scratch(work) as scratch:
                others = _baselines(baselines, budget_s, console)
                found.append(
                    evaluate_by_truth(lake, scratch, log, now=now, data=data, baselines=others, progress=progress)
                )
    if not found:
        raise BadInput(f"No protocol fits the lake at {source}; bring more events.")
    return found


@contextmanager
def _lake_of(source: Path, work: Path, now: datetime) -> Iterator[Path]:
    """The lake itself, or one that DeskDrop's files are imported into for as long as this lasts."""
    if not (source / DESKDROP_EVENTS).is_file():
        yield source
        return
    with _scratch(work) as scratch:
        import_sql(deskdrop(source), scratch / "lake", files=source, now=now)
        yield scratch / "lake"


def _splits(log: Log, names: Sequence[str] | None, negatives: int | None, console: Console) -> Iterator[Split]:
    """The splits asked for, or all that fit."""
    for name in names if names is not None else PROTOCOLS:
        if name == TRUE_INTEREST:
            continue
        if name not in PROTOCOLS:
            raise BadInput(f"There is no protocol {name}; choose among {', '.join((*PROTOCOLS, TRUE_INTEREST))}.")
        try:
            yield PROTOCOLS[name](log, negatives)
        except BadInput as error:
            if names is not None:
                raise
            console.print(f"left out: {error}")


def _simple(budget_s: float) -> list[System]:
    return [NewestFirst(), Popularity(), DecayedPopularity(budget=Budget(budget_s))]


def _baselines(wanted: bool, budget_s: float, console: Console) -> list[System]:
    """Where their package is installed; else a line on the console."""
    if not wanted:
        return []
    if find_spec("implicit") is None:
        console.print("left out: implicit ALS, BPR and item-kNN; `pip install rex[eval]` brings them.")
        return []
    from evaluation.systems.collaborative import ALS, BPR, ItemKNN

    return [kind(budget=Budget(budget_s)) for kind in (ItemKNN, ALS, BPR)]


def _rex(snapshots: SplitSnapshots, rankers: Sequence[Ranker | None]) -> list[System]:
    """One batch serves all rankers."""
    return [Rex(snapshots, ranker=one, name="rex" if one is None else f"rex, {one.name}") for one in rankers]


@contextmanager
def _scratch(work: Path) -> Iterator[Path]:
    work.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="eval-", dir=work))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
