"""The learned ranker, in two phases: a first-stage ranker scores every candidate, the models score the best of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from features.arrays import F32, F64, I32
from online.rankers.models.model import Model
from online.rankers.models.outcomes import shares, value, weights_with
from online.rankers.protocol import Degrade, Ranker, Scorer, refused
from online.rankers.weighted import Weighted
from online.selection import finite
from online.settings import RankingSettings

MODEL_SERVICE = "model_service"
"""How `degraded` names the part that was missing."""


@dataclass(frozen=True, slots=True)
class InProcess:
    """The models run here."""

    model: Model

    def probabilities(self, columns: Mapping[str, F32], n: int) -> Mapping[str, F64]:
        """See Scorer; never unavailable."""
        return self.model.probabilities(self.model.matrix(columns, n))


class Learned:
    """Value = Σ weight · probability for the `top_k` best of the first-stage ranker; the others stay below, in first-stage order.

    When the scorer fails, all are in first-stage order, and the feed says so.
    """

    def __init__(
        self,
        first_stage: Ranker,
        model: Model,
        name: str,
        top_k: int,
        scorer: Scorer | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        self.name = name
        self.first_stage = first_stage
        self.model = model
        self.top_k = top_k
        self.weights = dict(weights or model.weights)
        self.inputs = tuple(dict.fromkeys((*first_stage.inputs, *model.features)))
        self._scorer = scorer or InProcess(model)

    def score(self, columns: Mapping[str, F32], n: int, degrade: Degrade = refused) -> F32:
        """float32[n]."""
        first_stage = finite(self.first_stage.score(columns, n))
        top = self.top(first_stage)
        rows = _rows(columns, self.model.features, top)
        try:
            values = self.values(self._scorer.probabilities(rows, len(top)), len(top))
        except Exception as error:  # noqa: BLE001 - ranking by models fails open, and says so
            degrade(MODEL_SERVICE, error)
            return first_stage
        return _stacked(first_stage, top, values)

    def top(self, first_stage: F32) -> I32:
        """int32[≤ top_k], ascending: the candidates that the models score. Of equals at the edge the later rows of the
        table, which are the newer stories."""
        if len(first_stage) <= self.top_k:
            return np.arange(len(first_stage), dtype=np.int32)
        edge = np.partition(first_stage, -self.top_k)[-self.top_k]
        above, level = np.flatnonzero(first_stage > edge), np.flatnonzero(first_stage == edge)
        return np.union1d(above, level[len(level) - (self.top_k - len(above)) :]).astype(np.int32)

    def values(self, probabilities: Mapping[str, F64], n: int) -> F32:
        """float32[n]."""
        return value(shares(probabilities, self.weights), n)

    def contributions(self, columns: Mapping[str, F32], n: int) -> Mapping[str, F32]:
        """Outcome → float32[n]: weight · probability, which add up to the value in their order."""
        return shares(InProcess(self.model).probabilities(columns, n), self.weights)


def ranker_for(
    settings: RankingSettings, model: Model | None, digest: str, hosted: Callable[[str], Scorer] | None = None
) -> Ranker:
    """The ranker of a snapshot with `model`, whose hash is `digest`; the first stage alone without a model.

    `hosted`: the scorer of a model by its hash, where models run elsewhere; None: they run here.
    """
    if model is None:
        return Weighted()
    scorer = hosted(digest) if hosted else InProcess(model)
    weights = weights_with({**model.weights, **settings.rank.value_weights})
    return Learned(Weighted(), model, f"learned-{digest[:12]}", settings.rank.top_k, scorer, weights)


def _rows(columns: Mapping[str, F32], names: tuple[str, ...], at: I32) -> dict[str, F32]:
    return {name: columns[name].take(at) for name in names}


def _stacked(first_stage: F32, top: I32, values: F32) -> F32:
    """The values at `top`; everywhere else the first-stage score, moved below the least value.

    Moving is monotone, so the first-stage order stays; scores closer together than float32 can tell at that height become
    equal, and equal means newest first.
    """
    if len(top) == len(first_stage):
        out = np.empty_like(first_stage)
    else:
        rest = np.ones(len(first_stage), np.bool_)
        rest[top] = False
        greatest = first_stage.max(where=rest, initial=np.finfo(np.float32).min)
        below = (
            np.nextafter(values.min(initial=np.inf), np.float32(-np.inf), dtype=np.float32) if len(top) else greatest
        )
        out = np.minimum(first_stage - (greatest - below), below)
        out[~rest] = 0.0
    out[top] = values
    return out
