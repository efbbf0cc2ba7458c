"""A model: the trees and calibration of every outcome, over named inputs, with the weights of their value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from learning.calibration import Calibration
from learning.examples import POSITION
from learning.outcomes import Doubles, Floats, shares, value
from learning.trees import Forest, Walker, doubled


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
    """One for each of `learning.outcomes.OUTCOMES`, in that order."""
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

    def matrix(self, columns: Mapping[str, Floats], n: int, position: Floats | float = 0.0) -> Floats:
        """float32[n, k] of the inputs from feature columns; `position` is 0 for every story that is to be ranked."""
        x = np.empty((n, len(self.inputs)), np.float32)
        for at, name in enumerate(self.inputs):
            x[:, at] = position if name == POSITION else columns[name]
        return x

    def log_odds(self, x: Floats) -> dict[str, Doubles]:
        """Uncalibrated log-odds of each outcome: float64[n]. Of a row the same bits however many rows there are."""
        wide = doubled(x)
        return {name: walker.log_odds(wide) for name, walker in self._walkers.items()}

    def probabilities(self, x: Floats) -> dict[str, Doubles]:
        """Calibrated probability of each outcome: float64[n]."""
        raw = self.log_odds(x)
        return {outcome.name: outcome.calibration.probability(raw[outcome.name]) for outcome in self.outcomes}

    def value(self, x: Floats, weights: Mapping[str, float] | None = None) -> Floats:
        """float32[n]: weighted sum of the probabilities, with the model's own weights unless others are given."""
        return value(shares(self.probabilities(x), weights or self.weights), len(x))
