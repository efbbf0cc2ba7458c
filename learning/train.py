"""From a training set to a model that may be released: fit, evaluate on the last days, write the card, decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from features.packing import name_of
from learning.card import write_card
from learning.evaluate import ModelEvaluation, as_rows, evaluate
from learning.examples import Examples
from learning.fit import BUDGET_S, SCHEDULE, Choice, Stopwatch, fit
from learning.gate import admit, shortfalls
from learning.slices import cut
from online.rankers.models.model import Model
from online.rankers.models.model_file import encode


@dataclass(frozen=True, slots=True)
class EvaluatedModel:
    """What was found out about a model before it is decided whether it may be released."""

    name: str
    evaluation: ModelEvaluation
    card: Path


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
    """Baselines that it does not surely beat; empty unless forced."""


def train(
    examples: Examples,
    clock: Stopwatch,
    folder: Path,
    *,
    sampling: str = "",
    force: bool = False,
    budget_s: float = BUDGET_S,
    schedule: tuple[Choice, ...] = SCHEDULE,
    evaluated: Callable[[EvaluatedModel], None] = lambda evaluated: None,
) -> Trained:
    """Writes the card into `folder`/<name of the model>, in any case; raises ModelRefused when it does not beat the baselines.

    `evaluated` is told the verdict's grounds before that. The model that is released is the very one that was evaluated: the held-out days are not learned from afterwards.
    """
    slices = cut(examples)
    model = fit(examples, slices, clock, budget_s=budget_s, schedule=schedule)
    held_out = examples.part(slices.held_out)
    evaluation = evaluate(model, held_out)
    model = replace(model, about={**model.about, "evaluation": as_rows(evaluation), "sampling": sampling})
    data = encode(model)
    name = name_of(data)
    short = shortfalls(evaluation)
    card = write_card(folder / name, model, name, evaluation, held_out, sampling, short)
    evaluated(EvaluatedModel(name, evaluation, card))
    admit(evaluation, force=force)
    return Trained(model, data, name, evaluation, card, short)
