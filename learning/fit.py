"""Fits one boosted model per outcome: size chosen on later days, then calibrated on days after those."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from features.arrays import Bools
from learning.calibration import calibrate
from learning.examples import Examples, Slices
from online.rankers.models.model import IDENTITY, Model, OutcomeModel
from online.rankers.models.outcomes import NAMES, weights_with
from online.rankers.models.trees import LEAF, Forest, Walker, constant, doubled

MIN_POSITIVES = 30
"""An outcome with fewer positives (or negatives) to learn from gets its rate as a constant: trees would learn chance."""
MAX_DEPTH = 8
"""Rows are walked side by side down to a tree's deepest leaf, so that one long branch would make all walks long."""
MAX_STEPS = 960
"""Of one row's walk through all trees of a model, which cost time on every request: four models of 120 trees of depth 8
score 2,000 rows in some 15 ms. Small trees are shallow, so there may be more of them."""
PATIENCE = 10
"""Trees without a better validation loss before growing stops; scikit-learn's own default."""
SEED = 20_240_101
"""Of the sampling for bins; any number would do, but always the same."""
BUDGET_S = 240.0
"""For choosing, over all outcomes: a nightly job's share of an hour, far more than a million rows need."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The few things that are chosen on the validation slice."""

    learning_rate: float
    leaves: int
    rows_a_leaf: int

    @property
    def most_trees(self) -> int:
        """A tree of so many leaves is at most leaves - 1 deep."""
        return MAX_STEPS // min(self.leaves - 1, MAX_DEPTH)


SCHEDULE: tuple[Choice, ...] = (
    Choice(0.1, 15, 50),  # first, because it is seldom far off: small trees, quickly grown
    Choice(0.1, 4, 200),  # hardly more than sums: holds best for stories unlike those that were shown
    Choice(0.1, 31, 20),  # much data with interactions
    Choice(0.05, 15, 200),  # slower and steadier
)
"""In the order in which they are tried while the time budget lasts."""
THREADS = 1
"""More only help where cores are idle; beside other work OpenMP's threads wait for each other (measured: 5 times as long)."""
L2 = 1.0
"""Shrinks leaves of few rows, which rare outcomes have; one row's worth."""

Stopwatch = Callable[[], float]
"""Seconds, monotonic."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """One outcome's model and how it came about."""

    model: OutcomeModel
    about: dict[str, Any]
    notes: tuple[str, ...] = ()


def fit(
    examples: Examples,
    slices: Slices,
    clock: Stopwatch,
    *,
    budget_s: float = BUDGET_S,
    schedule: tuple[Choice, ...] = SCHEDULE,
    threads: int = THREADS,
) -> Model:
    """The models of all outcomes. The same examples and the same choices tried give the same bytes.

    The trees are grown on `slices.learned` with the size that was best on the validation slice after growing on
    `slices.fit`, and calibrated on the calibration slice. The held-out slice is not looked at.
    """
    started = clock()
    fitted = []
    with threadpool_limits(threads):
        for number, name in enumerate(NAMES, start=1):
            until = started + budget_s * number / len(NAMES)  # what one outcome leaves over is for the next
            fitted.append(_fit_outcome(examples, slices, name, schedule, partial(_is_before, clock, until)))
    about = {
        "outcomes": {part.model.name: part.about for part in fitted},
        "notes": [*examples.notes, *(note for part in fitted for note in part.notes)],
        "rows": {name: part.stop - part.start for name, part in _named(slices).items()},
        "days": {name: _interval(examples, part) for name, part in _named(slices).items()},
    }
    return Model(examples.inputs, tuple(part.model for part in fitted), weights_with(), about)


def _fit_outcome(
    examples: Examples, slices: Slices, name: str, schedule: tuple[Choice, ...], in_time: Callable[[], bool]
) -> Fitted:
    label = examples.labels[name]
    fewest = min(_rarer(label[slices.fit]), _rarer(label[slices.learned]))
    if fewest < MIN_POSITIVES:
        return _prior(examples, slices, name, fewest)
    choice, trees, tried = _choose(examples, slices, label, schedule, in_time)
    grown = _grow(examples, slices.learned, label, choice, max(trees, 1))
    forest = flatten(grown)
    late = slices.calibration
    raw = Walker(forest, len(examples.inputs)).log_odds(doubled(examples.x[late]))
    calibration = calibrate(raw, label[late], examples.weight[late])
    about = {**asdict(choice), "trees": trees, "tried": tried, "calibration": calibration.kind}
    notes = (f"{name} is not calibrated: too few positives, or no trend, on the calibration days",)
    return Fitted(OutcomeModel(name, forest, calibration), about, notes if calibration is IDENTITY else ())


def _is_before(clock: Stopwatch, until: float) -> bool:
    return clock() < until


def _choose(
    examples: Examples,
    slices: Slices,
    label: Bools,
    schedule: tuple[Choice, ...],
    in_time: Callable[[], bool],
) -> tuple[Choice, int, list[dict[str, Any]]]:
    """The choice and the number of trees with the least validation log loss; the first choice is always tried."""
    tried: list[dict[str, Any]] = []
    best = (np.inf, schedule[0], 1)
    for choice in schedule:
        if tried and not in_time():
            break
        model = _grow(examples, slices.fit, label, choice, choice.most_trees, slices.validation)
        losses = -model.validation_score_  # before the first tree, then after each
        trees = int(np.argmin(losses))
        tried.append({**asdict(choice), "trees": trees, "log_loss": float(losses[trees])})
        if losses[trees] < best[0]:
            best = (float(losses[trees]), choice, trees)
    return best[1], best[2], tried


def _grow(
    examples: Examples,
    rows: slice,
    label: Bools,
    choice: Choice,
    trees: int,
    validation: slice | None = None,
) -> HistGradientBoostingClassifier:
    """Boosted trees over `rows`; with `validation`, growing stops when its log loss does not get better."""
    model = _Boosted(
        learning_rate=choice.learning_rate,
        max_leaf_nodes=choice.leaves,
        max_depth=MAX_DEPTH,
        min_samples_leaf=choice.rows_a_leaf,
        l2_regularization=L2,
        max_iter=trees,
        early_stopping=validation is not None,
        n_iter_no_change=PATIENCE,
        random_state=SEED,
    )
    x, y, weight = examples.x[rows], label[rows], examples.weight[rows]
    if validation is None:
        return model.fit(x, y, weight)
    return model.fit(
        x,
        y,
        weight,
        X_val=examples.x[validation],
        y_val=label[validation],
        sample_weight_val=examples.weight[validation],
    )


class _Boosted(HistGradientBoostingClassifier):  # type: ignore[misc]  # scikit-learn declares no types
    """Finds the bins of the features from rows, not weights: scikit-learn's weighted quantiles take 30 times as long."""

    def _bin_data(self, X: Any, sample_weight: Any, is_training_data: bool) -> Any:
        return super()._bin_data(X, None, is_training_data)


def _prior(examples: Examples, slices: Slices, name: str, fewest: int) -> Fitted:
    """The rate over everything up to the held-out days, as a constant (with half a positive, so that it is never 0)."""
    seen = slice(slices.fit.start, slices.calibration.stop)
    weight, label = examples.weight[seen], examples.labels[name][seen]
    rate = (float(weight[label].sum()) + 0.5) / (float(weight.sum()) + 1.0)
    note = f"{name} has {fewest} rows of its rarer class to learn from, fewer than {MIN_POSITIVES}: its rate stands in for a model"
    model = OutcomeModel(name, constant(float(np.log(rate / (1 - rate)))), IDENTITY)
    return Fitted(model, {"constant": rate, "calibration": IDENTITY.kind}, (note,))


def _rarer(label: Bools) -> int:
    return int(min(label.sum(), len(label) - label.sum()))


def _named(slices: Slices) -> dict[str, slice]:
    return {
        "fit": slices.fit,
        "validation": slices.validation,
        "calibration": slices.calibration,
        "held_out": slices.held_out,
    }


def _interval(examples: Examples, rows: slice) -> list[str]:
    """First and last start of a request, RFC 3339 to the second; empty for no rows."""
    times = examples.shown_at[rows]
    ends = times[[0, -1]] if len(times) else times
    return [f"{np.datetime64(int(t), 'us').astype('datetime64[s]')}Z" for t in ends]


def flatten(model: HistGradientBoostingClassifier) -> Forest:
    """The trees of a fitted two-class model without categorical features."""
    trees = [predictor.nodes for (predictor,) in model._predictors]
    sizes = np.array([len(nodes) for nodes in trees], np.int64)
    roots = np.concatenate(([0], np.cumsum(sizes)[:-1])) if len(trees) else np.zeros(0)
    parts = [_downwards(nodes, int(root)) for nodes, root in zip(trees, roots, strict=True)]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}
    return Forest(float(model._baseline_prediction.ravel()[0]), roots.astype(np.int32), **columns)


def _downwards(nodes: NDArray[Any], root: int) -> dict[str, NDArray[Any]]:
    """One tree's columns, breadth first, so that children stand side by side and below their parents."""
    order: list[int] = [0]
    left: list[int] = []
    for node in order:  # grows while it is walked
        leaf = nodes[node]["is_leaf"]
        left.append(root + (len(left) if leaf else len(order)))
        if not leaf:
            order += [int(nodes[node]["left"]), int(nodes[node]["right"])]
    nodes = nodes[order]
    leaf = nodes["is_leaf"].astype(bool)
    return {
        "feature": np.where(leaf, LEAF, nodes["feature_idx"]).astype(np.int32),
        "threshold": np.where(leaf, np.inf, nodes["num_threshold"]),
        "missing_left": np.where(leaf, 1, nodes["missing_go_to_left"]).astype(np.uint8),
        "left": np.array(left, np.int32),
        "value": np.where(leaf, nodes["value"], 0.0),
        "cover": nodes["count"].astype(np.float64),
    }
