"""Shapley values of the inputs, per outcome, in uncalibrated log-odds.

The game is the path-dependent one of TreeSHAP (Lundberg et al. 2020, algorithm 1): with some inputs known, a tree follows
its splits on known inputs and takes both ways at the others, weighed by how many training rows went each way. No
background data is needed, so that a model file explains itself. Training weights do not count as rows here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from features.arrays import F32, F64
from online.rankers.models.model import Model
from online.rankers.models.trees import LEAF, Forest


@dataclass(frozen=True, slots=True)
class Shapley:
    """Of one outcome and n rows; base + values.sum(axis=1) is the raw log-odds, but for rounding."""

    base: float
    """Expected raw log-odds over the training rows."""
    values: F64
    """float64[n, k]: what knowing each input adds."""


def shapley(model: Model, x: F32) -> dict[str, Shapley]:
    """Per outcome: float32[n, k] inputs, in the model's order → contributions."""
    return {outcome.name: _of_forest(outcome.forest, x) for outcome in model.outcomes}


def _of_forest(forest: Forest, x: F32) -> Shapley:
    if not len(forest.roots):
        return Shapley(forest.baseline, np.zeros(x.shape))
    explainer = _explainer(forest)
    values = explainer.shap_values(x.astype(np.float64), check_additivity=False)
    return Shapley(float(np.ravel(explainer.expected_value)[0]), np.asarray(values).reshape(x.shape))


@lru_cache(maxsize=32)
def _explainer(forest: Forest) -> Any:
    from shap import TreeExplainer  # half a second and pandas, which nobody who only ranks needs

    ends = np.append(forest.roots[1:], len(forest.feature))
    trees = [_tree(forest, int(a), int(b)) for a, b in zip(forest.roots, ends, strict=True)]
    return TreeExplainer(
        {"trees": trees, "base_offset": forest.baseline, "tree_output": "log_odds", "objective": "binary_crossentropy"},
        feature_perturbation="tree_path_dependent",
    )


def _tree(forest: Forest, start: int, stop: int) -> dict[str, Any]:
    """One tree as shap takes it: a leaf has children -1."""
    nodes = slice(start, stop)
    leaf = forest.feature[nodes] == LEAF
    left = np.where(leaf, -1, forest.left[nodes] - start)
    right = np.where(leaf, -1, left + 1)
    return {
        "children_left": left,
        "children_right": right,
        "children_default": np.where(forest.missing_left[nodes] == 1, left, right),
        "features": np.where(leaf, -2, forest.feature[nodes]),
        "thresholds": np.where(leaf, 0.0, forest.threshold[nodes]),
        "values": forest.value[nodes][:, None].copy(),
        "node_sample_weight": forest.cover[nodes].copy(),
    }
