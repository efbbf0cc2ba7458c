"""The learned ranker, in two phases: a light ranker scores every candidate, the models score the best of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from learning.model import Model
from learning.outcomes import Doubles, shares, value, weights_with
from online.columns import Floats, Ints
from online.protocols import Degrade, Ranker, refused
from online.rankers.weighted import Weighted
from online.selection import finite
from online.settings import OnlineSettings
from rex.model_service.client import ModelService

MODEL_SERVICE = "model_service"
"""How `degraded` names the part that was missing."""


class Scorer(Protocol):
    """Where the models run."""

    def probabilities(self, columns: Mapping[str, Floats], n: int) -> Mapping[str, Doubles]:
        """Calibrated probability of each outcome, float64[n]. Unavailable when it cannot be had in time."""
        ...


@dataclass(frozen=True, slots=True)
class InProcess:
    """The models run here."""

    model: Model

    def probabilities(self, columns: Mapping[str, Floats], n: int) -> Mapping[str, Doubles]:
        """See Scorer; never unavailable."""
        return self.model.probabilities(self.model.matrix(columns, n))


class Learned:
    """Value = Σ weight · probability for the `top_k` best of the light ranker; the others stay below, in light order.

    When the scorer fails, all are in light order, and the feed says so.
    """

    def __init__(
        self,
        light: Ranker,
        model: Model,
        name: str,
        top_k: int,
        scorer: Scorer | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        self.name = name
        self.light = light
        self.model = model
        self.top_k = top_k
        self.weights = dict(weights or model.weights)
        self.inputs = tuple(dict.fromkeys((*light.inputs, *model.features)))
        self._scorer = scorer or InProcess(model)

    def score(self, columns: Mapping[str, Floats], n: int, degrade: Degrade = refused) -> Floats:
        """float32[n]."""
        light = finite(self.light.score(columns, n))
        top = self.top(light)
        try:
            values = self.values(
                self._scorer.probabilities(_rows(columns, self.model.features, top), len(top)), len(top)
            )
        except Exception as error:  # noqa: BLE001 - ranking by models fails open, and says so
            degrade(MODEL_SERVICE, error)
            return light
        return _stacked(light, top, values)

    def top(self, light: Floats) -> Ints:
        """int32[≤ top_k], ascending: the candidates that the models score. Of equals at the edge the later rows of the
        table, which are the newer stories."""
        if len(light) <= self.top_k:
            return np.arange(len(light), dtype=np.int32)
        edge = np.partition(light, -self.top_k)[-self.top_k]
        above, level = np.flatnonzero(light > edge), np.flatnonzero(light == edge)
        return np.union1d(above, level[len(level) - (self.top_k - len(above)) :]).astype(np.int32)

    def values(self, probabilities: Mapping[str, Doubles], n: int) -> Floats:
        """float32[n]."""
        return value(shares(probabilities, self.weights), n)

    def contributions(self, columns: Mapping[str, Floats], n: int) -> Mapping[str, Floats]:
        """Outcome → float32[n]: weight · probability, which add up to the value in their order."""
        return shares(InProcess(self.model).probabilities(columns, n), self.weights)


def ranker_for(
    settings: OnlineSettings, model: Model | None, digest: str, service: ModelService | None = None
) -> Ranker:
    """The ranker of a snapshot with `model`, whose hash is `digest`; the light one alone without a model.

    With `service` the models run there, else here. `service` is one for all snapshots of a process.
    """
    if model is None:
        return Weighted()
    scorer = service.of(digest) if service else InProcess(model)
    weights = weights_with({**model.weights, **settings.value_weights})
    return Learned(Weighted(), model, f"learned-{digest[:12]}", settings.rank_top_k, scorer, weights)


def _rows(columns: Mapping[str, Floats], names: tuple[str, ...], at: Ints) -> dict[str, Floats]:
    return {name: columns[name].take(at) for name in names}


def _stacked(light: Floats, top: Ints, values: Floats) -> Floats:
    """The values at `top`; everywhere else the light score, moved below the least value.

    Moving is monotone, so the light order stays; scores closer together than float32 can tell at that height become
    equal, and equal means newest first.
    """
    if len(top) == len(light):
        out = np.empty_like(light)
    else:
        rest = np.ones(len(light), np.bool_)
        rest[top] = False
        greatest = light.max(where=rest, initial=np.finfo(np.float32).min)
        below = (
            np.nextafter(values.min(initial=np.inf), np.float32(-np.inf), dtype=np.float32) if len(top) else greatest
        )
        out = np.minimum(light - (greatest - below), below)
        out[~rest] = 0.0
    out[top] = values
    return out
