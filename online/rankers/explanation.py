"""Why the learned ranker put one story where it stands. Costs milliseconds; made for `explain`, never for a feed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from features.arrays import F32
from online.rankers.learned import Learned
from online.rankers.models.shapley import shapley
from online.rankers.protocol import Ranker
from online.selection import finite


@dataclass(frozen=True, slots=True)
class OutcomeExplanation:
    """One outcome's part of the value, and what made it so likely."""

    outcome: str
    weight: float
    probability: float
    share: float
    """weight · probability in float32; the shares, added in float32 in their order, are the value."""
    log_odds: float
    """Uncalibrated: `base` plus all of `shapley`, but for rounding."""
    base: float
    """Log-odds before anything is known of the story and the user."""
    shapley: dict[str, float]
    """Input → what knowing it adds to the log-odds, greatest first."""
    calibration: str
    """`none`, `sigmoid` or `isotonic`."""
    calibration_map: tuple[tuple[float, float], ...]
    """Knots (uncalibrated log-odds, calibrated log-odds), straight lines between them."""
    calibration_slope: float
    """Of the map beyond its knots."""


@dataclass(frozen=True, slots=True)
class ScoreExplanation:
    """How one candidate got its score."""

    phase: Literal["models", "first_stage"]
    """`first_stage`: not among the candidates that the models scored, or they were not available; then the value below is
    what the models would have said."""
    score: float
    value: float
    first_stage_score: float
    first_stage_rank: int
    """How many candidates the first-stage ranker puts higher."""
    first_stage: dict[str, float]
    """Input → what it adds to the first-stage score."""
    outcomes: tuple[OutcomeExplanation, ...]


def explain(ranker: Learned, columns: Mapping[str, F32], scores: F32, at: int) -> ScoreExplanation:
    """Of the candidate at position `at`, given all candidates' feature columns and the scores that they got."""
    first_stage = finite(ranker.first_stage.score(columns, len(scores)))
    one = {name: columns[name][at : at + 1] for name in ranker.inputs}
    outcomes, value = _outcomes(ranker, one)
    by_models = at in ranker.top(first_stage) and value == scores[at]
    return ScoreExplanation(
        phase="models" if by_models else "first_stage",
        score=float(scores[at]),
        value=float(value),
        first_stage_score=float(first_stage[at]),
        first_stage_rank=int(np.count_nonzero(first_stage > first_stage[at])),
        first_stage=_first_stage(ranker.first_stage, one),
        outcomes=outcomes,
    )


def explained(ranker: Ranker, columns: Mapping[str, F32], scores: F32, at: int) -> dict[str, Any] | None:
    """As `explain`, for JSON; None for a ranker without models, whose contributions say it all."""
    return asdict(explain(ranker, columns, scores, at)) if isinstance(ranker, Learned) else None


def _first_stage(first_stage: Ranker, one: Mapping[str, F32]) -> dict[str, float]:
    return {name: float(part[0]) for name, part in first_stage.contributions(one, 1).items()}


def _outcomes(ranker: Learned, one: Mapping[str, F32]) -> tuple[tuple[OutcomeExplanation, ...], np.float32]:
    """Every outcome's explanation for one row, and the value."""
    model = ranker.model
    x = model.matrix(one, 1)
    raw, probabilities, why = model.log_odds(x), model.probabilities(x), shapley(model, x)
    parts = ranker.contributions(one, 1)
    out = []
    for outcome in model.outcomes:
        name, calibration = outcome.name, outcome.calibration
        adds = dict(zip(model.inputs, why[name].values[0].tolist(), strict=True))
        out.append(
            OutcomeExplanation(
                outcome=name,
                weight=ranker.weights[name],
                probability=float(probabilities[name][0]),
                share=float(parts[name][0]),
                log_odds=float(raw[name][0]),
                base=why[name].base,
                shapley=dict(sorted(adds.items(), key=lambda item: -abs(item[1]))),
                calibration=calibration.kind,
                calibration_map=tuple(zip(calibration.x.tolist(), calibration.y.tolist(), strict=True)),
                calibration_slope=calibration.slope,
            )
        )
    return tuple(out), ranker.values(probabilities, 1)[0]
