"""A model: the trees and calibration of every outcome, over named inputs, with the weights of their value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from features.arrays import F32, F64
from online.rankers.models.outcomes import shares, value
from online.rankers.models.trees import Forest, Walker, doubled

POSITION = "position"
"""Where the story stood. An input in training, so that the features need not explain it; fixed at 0 when serving."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The map: `x` (raw log-odds) and `y` (calibrated ones), float64[m], increasing; slopes beyond the ends."""

    kind: Literal["none", "sigmoid", "isotonic"]
    x: F64
    y: F64
    slope: float

    def log_odds(self, raw: F64) -> F64:
        """float64[n] → float64[n], strictly increasing."""
        inside = np.interp(raw, self.x, self.y)
        return inside + self.slope * (np.minimum(raw - self.x[0], 0.0) + np.maximum(raw - self.x[-1], 0.0))

    def probability(self, raw: F64) -> F64:
        """float64[n] in (0, 1)."""
        return sigmoid(self.log_odds(raw))


IDENTITY = Calibration("none", np.zeros(1), np.zeros(1), 1.0)


def sigmoid(log_odds: F64) -> F64:
    """1 / (1 + e^-x): float64[n] → float64[n], without overflow."""
    return 1.0 / (1.0 + np.exp(-np.clip(log_odds, -700.0, 700.0)))


@dataclass(frozen=True, slots=True)
class OutcomeModel:
    """What is known of one outcome."""

    name: str
    forest: Forest
    calibration: Calibration


@dataclass(frozen=True)
class Model:
    """Immutable; may be used by several threads at once."""

    inputs: tuple[str, ...]
    """Columns of the trees' features: `position` and names from the registry."""
    outcomes: tuple[OutcomeModel, ...]
    """One for each of `OUTCOMES`, in that order."""
    weights: dict[str, float]
    about: dict[str, Any] = field(default_factory=dict)
    """For users and model cards, JSON: data interval, choices, metrics, warnings."""

    @property
    def features(self) -> tuple[str, ...]:
        """What has to be brought for scoring: the inputs without the position."""
        return tuple(name for name in self.inputs if name != POSITION)

    @cached_property
    def _walkers(self) -> dict[str, Walker]:
        return {outcome.name: Walker(outcome.forest, len(self.inputs)) for outcome in self.outcomes}

    def warm(self) -> None:
        """Makes everything ready that scoring needs, so that the first request is as fast as the next."""
        self.probabilities(self.matrix({name: np.zeros(1, np.float32) for name in self.features}, 1))

    def matrix(self, columns: Mapping[str, F32], n: int, position: F32 | float = 0.0) -> F32:
        """float32[n, k] of the inputs from feature columns; `position` is 0 for every story that is to be ranked."""
        x = np.empty((n, len(self.inputs)), np.float32)
        for at, name in enumerate(self.inputs):
            x[:, at] = position if name == POSITION else columns[name]
        return x

    def log_odds(self, x: F32) -> dict[str, F64]:
        """Uncalibrated log-odds of each outcome: float64[n]. Of a row the same bits however many rows there are."""
        wide = doubled(x)
        return {name: walker.log_odds(wide) for name, walker in self._walkers.items()}

    def probabilities(self, x: F32) -> dict[str, F64]:
        """Calibrated probability of each outcome: float64[n]."""
        raw = self.log_odds(x)
        return {outcome.name: outcome.calibration.probability(raw[outcome.name]) for outcome in self.outcomes}

    def value(self, x: F32, weights: Mapping[str, float] | None = None) -> F32:
        """float32[n]: weighted sum of the probabilities, with the model's own weights unless others are given."""
        return value(shares(self.probabilities(x), weights or self.weights), len(x))
