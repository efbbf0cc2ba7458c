"""The flat trees say the same as scikit-learn's, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from numba.core.caching import FunctionCache
from sklearn.ensemble import HistGradientBoostingClassifier

from learning.fit import flatten
from online.rankers.models import trees
from online.rankers.models.trees import Walker, constant, doubled


def _grown(share_missing: float, seed: int, **more: object) -> tuple[HistGradientBoostingClassifier, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3000, 7)).astype(np.float32)
    x[:, 1] = np.round(x[:, 1])  # few values: thresholds between them
    y = x[:, 0] + x[:, 1] * x[:, 2] + rng.normal(size=3000) > 0.5
    x[rng.random(x.shape) < share_missing] = np.nan
    model = HistGradientBoostingClassifier(max_iter=15, early_stopping=False, random_state=0, **more)
    return model.fit(x, y), rng.normal(size=(997, 7)).astype(np.float32)


@pytest.mark.parametrize("share_missing", [0.0, 0.2])
@pytest.mark.parametrize(
    "more", [{"max_leaf_nodes": 31}, {"max_leaf_nodes": 2}, {"max_leaf_nodes": None, "max_depth": 9}]
)
def test_raw_log_odds_have_the_bits_of_scikit_learn(share_missing: float, more: dict[str, object]) -> None:
    model, x = _grown(share_missing, 11, **more)
    rng = np.random.default_rng(5)
    x[rng.random(x.shape) < 0.1] = np.nan
    x[0], x[1] = np.inf, -np.inf
    forest = flatten(model)
    forest.check(7)
    assert Walker(forest, 7).log_odds(doubled(x)).tobytes() == model._raw_predict(x)[:, 0].tobytes()


def test_a_value_on_a_threshold_goes_left_as_in_scikit_learn() -> None:
    model, _ = _grown(0.0, 12)
    thresholds = np.concatenate([p.nodes["num_threshold"] for (p,) in model._predictors])
    near = np.resize(thresholds.astype(np.float32), 7 * 400)
    for step in (-np.inf, np.inf):  # the float32 next below and above each threshold
        probe = np.nextafter(near, np.float32(step)).reshape(-1, 7)
        assert (Walker(flatten(model), 7).log_odds(doubled(probe)) == model._raw_predict(probe)[:, 0]).all()


def test_a_row_has_the_same_bits_alone_and_among_others() -> None:
    model, x = _grown(0.1, 13)
    walker = Walker(flatten(model), 7)
    together = walker.log_odds(doubled(x))
    assert all(walker.log_odds(doubled(x[i : i + 1]))[0] == together[i] for i in range(100))


def test_only_missing_values_part_a_feature_that_is_otherwise_constant() -> None:
    rng = np.random.default_rng(1)
    x = np.zeros((1000, 1), np.float32)
    x[:500] = np.nan
    model = HistGradientBoostingClassifier(max_iter=3, early_stopping=False).fit(
        x, rng.random(1000) < np.isnan(x[:, 0]) * 0.8 + 0.1
    )
    got = Walker(flatten(model), 1).log_odds(doubled(x[[0, -1]]))
    assert (got == model._raw_predict(x[[0, -1]])[:, 0]).all()
    assert got[0] != got[1]


def test_a_constant_needs_no_tree() -> None:
    assert (Walker(constant(-1.5), 3).log_odds(doubled(np.zeros((4, 3), np.float32))) == -1.5).all()


def test_without_a_directory_for_machine_code_it_is_compiled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = _grown(0.1, 3)
    walker = Walker(flatten(model), 7)
    expected = walker.log_odds(doubled(x))
    monkeypatch.setattr(FunctionCache._impl_class, "_locator_classes", [])
    monkeypatch.setattr(trees, "_compiled", trees.machine_code())
    assert walker.log_odds(doubled(x)).tobytes() == expected.tobytes()
