"""From a training set to a released model: fit, evaluate on the last days, write the card, decide, release."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from rich.progress import Progress
from rich.table import Table

from features.errors import BadInput
from features.packing import name_of
from features.partitions import written
from lake.models import Release, last_release, models_of, release, released
from lake.progress import bar
from learning.card import write_card
from learning.evaluate import DECIDING, MODEL, RANKING, ModelEvaluation, admit, as_rows, evaluate, shortfalls
from learning.examples import Examples, cut
from learning.fit import BUDGET_S, SCHEDULE, Choice, Stopwatch, fit
from learning.lake_examples import read_lake_examples
from learning.settings import LearningSettings
from online.rankers.models.model import Model
from online.rankers.models.model_file import decode, encode


@dataclass(frozen=True, slots=True)
class Trained:
    """A model with everything that was found out about it."""

    model: Model
    data: bytes
    name: str
    """SHA-256 of `data`."""
    evaluation: ModelEvaluation
    card: Path
    shortfalls: Sequence[str]
    """Baselines that it does not surely beat."""


def train_and_release(
    lake: Path,
    as_of: datetime,
    clock: Stopwatch,
    *,
    now: datetime,
    settings: LearningSettings,
    force: bool = False,
    progress: Progress | None = None,
    evaluated: Callable[[Trained], None] = lambda evaluated: None,
) -> tuple[Trained, Release]:
    """Releases a model of the lake's training examples of `as_of`.

    BadInput (ModelRefused, when it does not surely beat the baselines and is not forced) leaves the earlier release in place.
    """
    with bar(progress, "read examples"):
        given = read_lake_examples(lake, as_of)
    with bar(progress, "fit and evaluate models"):
        trained = train(
            given.examples,
            clock,
            models_of(lake),
            sampling=given.sampling,
            constants=given.constants,
            force=force,
            budget_s=settings.fit_budget_s,
            evaluated=evaluated,
        )
    return trained, release(lake, trained.data, as_of=as_of, now=now, shortfalls=tuple(trained.shortfalls))


def train(
    examples: Examples,
    clock: Stopwatch,
    folder: Path,
    *,
    sampling: str = "",
    constants: str = "",
    force: bool = False,
    budget_s: float = BUDGET_S,
    schedule: tuple[Choice, ...] = SCHEDULE,
    evaluated: Callable[[Trained], None] = lambda evaluated: None,
) -> Trained:
    """Writes the card into `folder`/<name of the model>, in any case; raises ModelRefused when it does not beat the baselines.

    `evaluated` gets the model before that. The model that is released is the very one that was evaluated: the held-out days
    are not learned from afterwards.
    """
    slices = cut(examples)
    model = fit(examples, slices, clock, budget_s=budget_s, schedule=schedule)
    held_out = examples.part(slices.held_out)
    evaluation = evaluate(model, held_out)
    model = replace(
        model, about={**model.about, "evaluation": as_rows(evaluation), "sampling": sampling, "constants": constants}
    )
    data = encode(model)
    name, short = name_of(data), shortfalls(evaluation)
    card = write_card(folder / name, model, name, evaluation, held_out, sampling, short)
    trained = Trained(model, data, name, evaluation, card, short)
    evaluated(trained)
    admit(evaluation, force=force)
    return trained


def is_due(lake: Path, as_of: datetime, settings: LearningSettings, constants: str = "") -> bool:
    """Whether the released model is older than its cadence at `as_of`, learned from features of other constants, or there is none."""
    last = last_release(lake)
    if last is None or last.age_s(as_of) >= settings.cadence_d * 86_400:
        return True
    model = released(lake) if constants else None
    return model is not None and decode(model, last.sha256).about.get("constants", "") not in {"", constants}


def latest_batch(lake: Path) -> datetime:
    """The latest moment at which the lake's events were validated. BadInput when there is none."""
    moments = written(lake, "valid_events")
    if not moments:
        raise BadInput(f"no batch has run on the lake at {lake}; run `rex batch` first, or name a moment with --as-of.")
    return moments[-1]


def verdict_table(trained: Trained) -> Table:
    """Rankings of the held-out days side by side, and by how much the model is ahead of each in what decides."""
    evaluation, measures = trained.evaluation, [*RANKING, "author_coverage"]
    title = f"{evaluation.requests:,} held-out requests with {evaluation.rows:,} stories; 95% intervals"
    table = Table("ranking", *measures, f"model's lead in {DECIDING}", box=None, title=title)
    for name, of in evaluation.systems.items():
        lead = "" if name == MODEL else evaluation.ahead[name][DECIDING].text(sign="+")
        table.add_row(name, *(of[measure].text() for measure in measures), lead)
    return table


def lead_line(trained: Trained) -> str:
    """The decisive measure in one line."""
    values = ", ".join(f"{name} {of[DECIDING].value:.4f}" for name, of in trained.evaluation.systems.items())
    return f"{DECIDING} on the held-out days: {values}"
