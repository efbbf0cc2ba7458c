"""What the outcomes of an impression are worth together: the expected value that models rank by."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from features.arrays import F32, F64, Bools
from features.errors import BadInput
from features.interactions import OUTCOMES

NAMES = tuple(outcome.name for outcome in OUTCOMES)
WEIGHTS: dict[str, float] = {outcome.name: outcome.weight for outcome in OUTCOMES}


def weights_with(overrides: Mapping[str, float] | None = None) -> dict[str, float]:
    """The declared weights, some replaced (a variant's). BadInput for an unknown outcome or a weight that is no number."""
    overrides = overrides or {}
    unknown = sorted(overrides.keys() - WEIGHTS.keys())
    if unknown:
        raise BadInput(f"weights are given for unknown outcomes {unknown}; the outcomes are {list(NAMES)}.")
    bad = sorted(name for name, weight in overrides.items() if not np.isfinite(weight))
    if bad:
        raise BadInput(f"the weights of {bad} are not finite numbers; give plain numbers.")
    return {**WEIGHTS, **{name: float(weight) for name, weight in overrides.items()}}


def shares(probabilities: Mapping[str, F64], weights: Mapping[str, float]) -> dict[str, F32]:
    """What each outcome adds to the value: weight · probability, float32[n] each, in the order of `OUTCOMES`."""
    return {name: (probabilities[name] * weights[name]).astype(np.float32) for name in NAMES}


def value(parts: Mapping[str, F32], n: int) -> F32:
    """The value: float32[n], the sum of the shares in their order, in float32, so that they add up to it exactly."""
    total = np.zeros(n, np.float32)
    for part in parts.values():
        total += part
    return total


def realised(labels: Mapping[str, Bools], weights: Mapping[str, float]) -> F64:
    """What really happened, in the unit of the value: float64[n]."""
    return np.sum([labels[name] * weights[name] for name in NAMES], axis=0)
