"""Lets a model through only when it is better than what needs no learning."""

from __future__ import annotations

from features.errors import BadInput
from features.ranking_metrics import TOP, Estimate
from learning.evaluate import ModelEvaluation

DECIDING = f"ndcg@{TOP}"
"""What a user sees first; the one measure that decides, so that nobody picks the kindest."""


class ModelRefused(BadInput):
    """The model must not be released."""


def shortfalls(evaluation: ModelEvaluation) -> list[str]:
    """One sentence for each baseline that the model does not surely beat: the interval of the difference reaches 0."""
    return [
        _formatted(name, measures[DECIDING])
        for name, measures in evaluation.ahead.items()
        if not measures[DECIDING].low > 0
    ]


def admit(evaluation: ModelEvaluation, *, force: bool = False) -> list[str]:
    """The shortfalls of a model that may be released. ModelRefused when there are any, unless `force`."""
    short = shortfalls(evaluation)
    if short and not force:
        raise ModelRefused(f"the model is not released: {'; '.join(short)}. Log more impressions, or force it.")
    return short


def _formatted(name: str, ahead: Estimate) -> str:
    return (
        f"its {DECIDING} is {ahead.value:+.4f} against {name} (95% interval {ahead.low:+.4f} to {ahead.high:+.4f}), "
        "which is not surely better"
    )
