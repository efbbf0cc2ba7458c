"""Evaluates rankings on the held-out days: a model beside popularity, recency and the hand-weighted ranker, which it must beat.

A ranking is evaluated by what really happened, in the unit of the value: `gain` is the realised value of a row (below zero
counts as zero), and a row with a gain is a positive. Intervals are percentile bootstraps over requests (95%), with the same
resampled requests for every ranking, so that differences are paired.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from features.arrays import F32, F64, I64
from features.errors import BadInput
from features.ranking_metrics import (
    RESAMPLES,
    TOP,
    Estimate,
    auc,
    gaps,
    losses,
    mean,
    ndcg,
    order_within,
    percentile,
    places,
    ratio,
    reciprocal_rank,
    reliability,
    resamples,
    total,
)
from learning.examples import Examples
from online.rankers.models.model import POSITION, Model
from online.rankers.models.outcomes import realised
from online.rankers.weighted import Weighted

SEED = 7
MODEL = "model"
DECIDING = f"ndcg@{TOP}"
"""What a user sees first; the one measure that decides about a release, so that nobody picks the kindest."""
RANKING = ("auc", DECIDING, "mrr")


@dataclass(frozen=True, slots=True)
class ModelEvaluation:
    """Of one model on one set of examples."""

    requests: int
    rows: int
    systems: dict[str, dict[str, Estimate]]
    """System → measure: auc, ndcg@10, mrr, author_coverage."""
    ahead: dict[str, dict[str, Estimate]]
    """Baseline → measure → model minus baseline, on the same resampled requests."""
    outcomes: dict[str, dict[str, Estimate]]
    """Outcome → log_loss, base_log_loss (always saying the rate of these days), ece."""
    reliability: dict[str, F64]
    """Outcome → float64[b, 3]: mean probability, rate, share."""


def baselines(examples: Examples) -> dict[str, F64]:
    """System → float64[n] scores."""
    first_stage = Weighted()
    columns = {name: examples.column(name) for name in first_stage.inputs}
    return {
        "popularity": examples.column("story_popularity").astype(np.float64),
        "recency": examples.column("recency").astype(np.float64),
        "hand_weighted": first_stage.score(columns, len(examples)).astype(np.float64),
    }


def evaluate(model: Model, examples: Examples, *, times: int = RESAMPLES, seed: int = SEED) -> ModelEvaluation:
    """Of examples that the model has not seen.

    Rankings are evaluated with positions fixed at 0, as in serving; probabilities at the positions where the stories stood,
    because whether they were opened there is what happened.
    """
    columns = {name: examples.column(name) for name in model.features}
    x = model.matrix(columns, len(examples))
    scores = {MODEL: model.value(x).astype(np.float64), **baselines(examples)}
    rng = np.random.default_rng(seed)
    requests = int(examples.request[-1]) + 1
    draws = resamples(requests, rng, times)
    tie = rng.permutation(len(examples))
    each = np.arange(requests)
    gain = np.maximum(realised(examples.labels, model.weights), 0.0)
    rankings = {name: _ranking(examples, score, gain, tie) for name, score in scores.items()}
    tops = {name: order_within(examples.request, score, tie) for name, score in scores.items()}
    systems = {
        name: {measure: mean(values, each, draws) for measure, values in of.items()}
        | {"author_coverage": Estimate(_coverage(examples, tops[name]), np.nan, np.nan)}
        for name, of in rankings.items()
    }
    ahead = {
        name: {measure: mean(rankings[MODEL][measure] - values, each, draws) for measure, values in of.items()}
        for name, of in rankings.items()
        if name != MODEL
    }
    where_shown = model.matrix(columns, len(examples), examples.column(POSITION))
    probabilities = model.probabilities(where_shown)
    outcomes = {name: _outcome(examples, name, p, draws) for name, p in probabilities.items()}
    tables = {name: reliability(p, examples.labels[name], examples.weight) for name, p in probabilities.items()}
    return ModelEvaluation(requests, len(examples), systems, ahead, outcomes, tables)


def _ranking(examples: Examples, score: F64, gain: F64, tie: I64) -> dict[str, F64]:
    """Measure → float64[r]; NaN where a request says nothing."""
    order = order_within(examples.request, score, tie)
    request, place, positive = examples.request[order], places(examples.request[order]), gain > 0
    of_request = (
        auc(examples.request, score, positive),
        ndcg(request, place, gain[order]),
        reciprocal_rank(request, place, positive[order]),
    )
    return dict(zip(RANKING, of_request, strict=True))


def _outcome(examples: Examples, name: str, probability: F64, draws: F32) -> dict[str, Estimate]:
    label, weight, request = examples.labels[name], examples.weight, examples.request
    mass = total(request, weight)
    rate = float((weight * label).sum() / weight.sum())
    own = total(request, weight * losses(probability, label))
    base = total(request, weight * losses(np.full(len(label), rate), label))
    return {
        "log_loss": ratio(own, mass, draws),
        "base_log_loss": ratio(base, mass, draws),
        "ece": _ece(gaps(probability, label, weight, request), mass, draws),
    }


def _ece(gap: F64, mass: F64, draws: F32) -> Estimate:
    """Expected calibration error: Σ over bins |Σ weight · (probability - label)| / Σ weight."""
    again = np.abs(draws @ gap).sum(axis=1) / (draws @ mass)
    return percentile(float(np.abs(gap.sum(axis=0)).sum() / mass.sum()), again)


def _coverage(examples: Examples, order: I64) -> float:
    """Share of the authors on offer who reach any request's top 10. Resampled requests always hold fewer: no interval."""
    top = order[places(examples.request[order]) < TOP]
    return len(np.unique(examples.author[top])) / len(np.unique(examples.author))


class ModelRefused(BadInput):
    """The model must not be released."""


def shortfalls(evaluation: ModelEvaluation) -> list[str]:
    """One sentence for each baseline that the model does not surely beat: the interval of the difference reaches 0."""
    return [
        f"its {DECIDING} is {one.value:+.4f} against {name} (95% interval {one.low:+.4f} to {one.high:+.4f}), "
        "so it may be no better"
        for name, measures in evaluation.ahead.items()
        if not (one := measures[DECIDING]).low > 0
    ]


def admit(evaluation: ModelEvaluation, *, force: bool = False) -> list[str]:
    """The shortfalls of a model that may be released. ModelRefused when there are any, unless `force`."""
    short = shortfalls(evaluation)
    if short and not force:
        raise ModelRefused(
            f"the model is not released: {'; '.join(short)}. Train it again when there are more impressions, "
            "or release it anyway with `--force`."
        )
    return short


def as_rows(evaluation: ModelEvaluation) -> list[Mapping[str, object]]:
    """`system, metric, value, low, high` of everything, for tables and files; NaN becomes None."""
    rows = [(system, m, e) for system, of in evaluation.systems.items() for m, e in of.items()]
    rows += [(f"{MODEL} - {base}", m, e) for base, of in evaluation.ahead.items() for m, e in of.items()]
    rows += [(f"{MODEL}: {outcome}", m, e) for outcome, of in evaluation.outcomes.items() for m, e in of.items()]
    return [
        {"system": system, "metric": metric}
        | {end: None if np.isnan(value) else value for end, value in asdict(estimate).items()}
        for system, metric, estimate in rows
    ]
