"""What another policy would have earned, estimated from what was logged: IPS, SNIPS and doubly robust.

A slot is one logged impression: a request, a position and the entries above it. `propensity` is the probability with which
the logging policy put this story there, given exactly that (see docs/evaluation.md). All three estimate the same thing,
the *value* of a target policy:

    V(π) = mean over logged slots of Σ over stories a of π(a | slot) · E[reward | slot, a],

the expected reward per impression if at every slot, with the request and the entries above it as they were logged, the
target policy had drawn the story. It is not the value of serving whole lists by π, because then other entries would be
above. Assumed: the propensities are right, and support: wherever π may put a story, the logging policy could have, too.
Intervals are normal, 95 %, over units (users), whose slots may depend on each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.arrays import F64, I64
from features.duckdb_views import connect
from features.errors import BadInput
from features.interactions import LIKING
from features.ranking_metrics import Estimate, normal

_IMPRESSIONS = """
WITH done AS (SELECT DISTINCT request_id, user_id, story_id FROM events WHERE type = '{reward}')
SELECT i.request_id, i.user_id, i.story_id, i.position, i.propensity, epoch_us(i.occurred_at) AS at_us,
       (done.story_id IS NOT NULL)::DOUBLE AS reward
FROM (SELECT DISTINCT ON (request_id, user_id, story_id) * FROM events
      WHERE type = 'impression' AND propensity IS NOT NULL AND request_id IS NOT NULL
      ORDER BY request_id, user_id, story_id, occurred_at) i
LEFT JOIN done USING (request_id, user_id, story_id) ORDER BY i.request_id, i.position, i.story_id
"""


@dataclass(frozen=True, slots=True)
class Logged:
    """n slots of a logging policy."""

    reward: F64
    propensity: F64
    """float64[n] in (0, 1]"""
    unit: I64
    """int64[n] in 0 … units - 1: slots of one unit may depend on each other"""


@dataclass(frozen=True, slots=True)
class Impressions:
    """Logged slots with what a target policy needs to know of them, ordered by request and position."""

    logged: Logged
    request_id: NDArray[np.object_]
    user_id: NDArray[np.object_]
    story_id: NDArray[np.object_]
    position: I64
    at_us: I64


def read_impressions(lake: Path, reward: str = "open") -> Impressions:
    """Impressions of a raw lake that have a propensity; reward 1 where `reward` followed in the same request. Units are users.

    BadInput without any such impression, for an unknown reward, and for propensities outside (0, 1].
    """
    if reward not in LIKING:
        raise BadInput(f"There is no reward {reward}; choose among {', '.join(LIKING)}.")
    with connect(lake) as db:
        found = db.sql(_IMPRESSIONS.format(reward=reward)).fetchnumpy()
    column = {name: np.asarray(values) for name, values in found.items()}
    if not len(column["reward"]):
        raise BadInput(
            f"The lake at {lake} has no impression with a propensity and a request_id; nothing was logged to learn from."
        )
    _, unit = np.unique(column["user_id"].astype(str), return_inverse=True)
    logged = Logged(column["reward"], column["propensity"].astype(np.float64), unit)
    _check(logged, logged.propensity)
    return Impressions(
        logged,
        column["request_id"],
        column["user_id"],
        column["story_id"],
        column["position"].astype(np.int64),
        column["at_us"].astype(np.int64),
    )


def ips(logged: Logged, target: F64) -> Estimate:
    """V(π) by inverse propensity scoring: the mean of w · reward, w = π(logged story | slot) / propensity.

    `target`: float64[n], π of the logged story at each slot. Unbiased under the assumptions; its variance grows with w.
    Horvitz and Thompson, JASA 1952.
    """
    values = _weights(logged, target) * logged.reward
    return _normal(float(values.mean()), values - values.mean(), logged.unit, len(values))


def snips(logged: Logged, target: F64) -> Estimate:
    """V(π), self-normalised: Σ w · reward / Σ w. Slightly biased (of order 1/n), never outside the rewards' range.

    Estimates the value over slots weighted by Σ w / n, which is 1 in expectation. Swaminathan and Joachims, NIPS 2015.
    BadInput when the target puts none of the logged stories anywhere.
    """
    weights = _weights(logged, target)
    if not weights.sum() > 0:
        raise BadInput(
            "The target policy would have put none of the logged stories where they were; nothing can be estimated."
        )
    value = float(weights @ logged.reward / weights.sum())
    return _normal(value, weights * (logged.reward - value), logged.unit, float(weights.sum()))


def doubly_robust(logged: Logged, target: F64, predicted: F64, expected: F64) -> Estimate:
    """V(π) by a reward model corrected by IPS: the mean of expected + w · (reward − predicted).

    `predicted`: float64[n], the model's reward of the logged story; `expected`: float64[n], the model's mean reward when the
    story is drawn from π. Unbiased when propensities are right, whatever the model, as long as it was not fitted on the
    unit itself (`cross_fitted`); and also when the model is right and the propensities are not. Dudík, Langford, Li, ICML 2011.
    """
    values = expected + _weights(logged, target) * (logged.reward - predicted)
    return _normal(float(values.mean()), values - values.mean(), logged.unit, len(values))


def cross_fitted(logged: Logged, cell: I64, cells: int, folds: int = 5) -> F64:
    """A reward model for `doubly_robust`: mean reward of each cell over the *other* folds of units, float64[n, cells].

    `cell`: int64[n], the cell (position, kind of story, …) of each slot. A cell without data gets the mean over all.
    """
    fold = logged.unit % folds
    out = np.empty((len(logged.reward), cells))
    for number in range(folds):
        other = fold != number
        count = np.bincount(cell[other], minlength=cells)
        total = np.bincount(cell[other], logged.reward[other], cells)
        overall = logged.reward[other].mean() if other.any() else 0.0
        out[~other] = np.where(count > 0, total / np.maximum(count, 1), overall)
    return out


def effective_slots(logged: Logged, target: F64) -> float:
    """(Σ w)² / Σ w²: how many slots drawn from π itself would say as much (Kish). A small share of n warns of a poor estimate."""
    weights = _weights(logged, target)
    return float(weights.sum() ** 2 / np.maximum(weights @ weights, np.finfo(float).tiny))


def _weights(logged: Logged, target: F64) -> F64:
    _check(logged, target)
    return target / logged.propensity


def _check(logged: Logged, target: F64) -> None:
    """BadInput for what no estimator can work with."""
    if target.shape != logged.propensity.shape:
        raise BadInput(
            f"The target has {len(target)} probabilities for {len(logged.propensity)} slots; give one for each."
        )
    if not ((logged.propensity > 0) & (logged.propensity <= 1)).all():
        raise BadInput("A logged propensity is not in (0, 1]; leave such impressions out.")
    if not ((target >= 0) & (target <= 1)).all():
        raise BadInput("A probability of the target policy is not in [0, 1].")
    if (logged.propensity == 1).all():
        raise BadInput(
            "Every propensity is 1: a deterministic policy shows nothing about any other; log some exploration."
        )


def _normal(value: float, residual: F64, unit: I64, total: float) -> Estimate:
    """value ± 1.96 standard errors, residuals summed within units."""
    sums = np.bincount(unit, residual)
    units = len(np.unique(unit))
    return normal(value, float(np.sqrt(sums @ sums * units / max(units - 1, 1))) / total)
