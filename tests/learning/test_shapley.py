"""Shapley values: equal to brute force over all subsets, and adding up to the log-odds."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from learning.fit import flatten
from online.rankers.models.model import IDENTITY, Model, OutcomeModel
from online.rankers.models.outcomes import NAMES, WEIGHTS
from online.rankers.models.shapley import shapley
from online.rankers.models.trees import LEAF, Forest, constant
from tests.learning.conftest import Made


def _expected(forest: Forest, node: int, x: np.ndarray, known: frozenset[int]) -> float:
    """What a tree says when only the inputs in `known` are known: the definition in online/rankers/models/shapley.py."""
    if forest.feature[node] == LEAF:
        return float(forest.value[node])
    left = int(forest.left[node])
    if (feature := int(forest.feature[node])) in known:
        missing = np.isnan(x[feature])
        goes_left = forest.missing_left[node] if missing else x[feature] <= forest.threshold[node]
        return _expected(forest, left if goes_left else left + 1, x, known)
    parts = ((child, forest.cover[child] / forest.cover[node]) for child in (left, left + 1))
    return sum(share * _expected(forest, child, x, known) for child, share in parts)


def _game(forest: Forest, x: np.ndarray, known: frozenset[int]) -> float:
    return forest.baseline + sum(_expected(forest, int(root), x, known) for root in forest.roots)


def _brute_force(forest: Forest, x: np.ndarray) -> np.ndarray:
    """Shapley (1953): weighted mean of what an input adds, over all subsets of the others."""
    k = len(x)
    out = np.zeros(k)
    for i in range(k):
        others = [j for j in range(k) if j != i]
        for size in range(k):
            for chosen in combinations(others, size):
                known = frozenset(chosen)
                share = factorial(size) * factorial(k - size - 1) / factorial(k)
                out[i] += share * (_game(forest, x, known | {i}) - _game(forest, x, known))
    return out


def _small_forest() -> tuple[Forest, np.ndarray]:
    rng = np.random.default_rng(6)
    x = rng.normal(size=(800, 4)).astype(np.float32)
    y = x[:, 0] * x[:, 1] + x[:, 2] > 0
    x[rng.random(x.shape) < 0.1] = np.nan
    model = HistGradientBoostingClassifier(max_iter=3, max_leaf_nodes=8, early_stopping=False, random_state=0).fit(x, y)
    return flatten(model), x[:12]


def test_values_match_brute_force_over_all_subsets_on_small_trees() -> None:
    forest, x = _small_forest()
    outcomes = (OutcomeModel("open", forest, IDENTITY), *(OutcomeModel(n, constant(0.0), IDENTITY) for n in NAMES[1:]))
    told = shapley(Model(("position", "als_score", "recency", "similarity"), outcomes, WEIGHTS), x)["open"]
    assert np.isnan(x).any()
    assert told.base == pytest.approx(_game(forest, x[0], frozenset()), abs=1e-12)
    for row, values in zip(x, told.values, strict=True):
        assert values == pytest.approx(_brute_force(forest, row), abs=1e-12)


def test_base_and_values_add_up_to_the_log_odds_of_every_outcome(made: Made) -> None:
    x = made.examples.x[-50:]
    raw = made.loaded.log_odds(x)
    told = shapley(made.loaded, x)
    assert tuple(told) == NAMES
    for name, why in told.items():
        assert why.base + why.values.sum(axis=1) == pytest.approx(raw[name], abs=1e-9), name
        assert np.abs(why.values).max() > 0.01, f"{name}: values that are all nought explain nothing"


def test_a_constant_model_is_explained_by_its_base_alone() -> None:
    outcomes = tuple(OutcomeModel(name, constant(-2.0), IDENTITY) for name in NAMES)
    told = shapley(Model(("position", "als_score"), outcomes, WEIGHTS), np.zeros((2, 2), np.float32))
    assert all(why.base == -2.0 and not why.values.any() for why in told.values())
