"""Scoring four boosted models over the best 2,000 stories: here, in the model service, and with scikit-learn's own predict."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.progress import Progress
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from benchmarks.measuring import elapsed_ms, served
from benchmarks.results import Result, measured
from features.arrays import F32
from features.packing import name_of
from features.registry import FEATURES
from learning.examples import FEATURE_NAMES
from learning.fit import flatten
from online.rankers.learned import InProcess, Learned
from online.rankers.models.model import IDENTITY, POSITION, Model, OutcomeModel
from online.rankers.models.model_file import decode, encode
from online.rankers.models.outcomes import NAMES, WEIGHTS
from online.rankers.models.trees import Walker, doubled
from online.rankers.weighted import Weighted
from rex.model_service.app import create_model_app
from rex.model_service.client import ModelService
from rex.model_service.registry import Folder

ROWS = 2000
STORIES = 500_000
TRAINING_ROWS = 40_000
REPEATS = 50
TREES, LEAVES = 100, 31
"""scikit-learn's defaults."""
BAR_MS = 20.0


def measure(progress: Progress) -> list[Result]:
    """Milliseconds, medians; the baseline is scikit-learn on one thread in the same run."""
    task = progress.add_task("models", total=5)
    rng = np.random.default_rng(0)
    fitted = _fitted(rng)
    progress.advance(task)
    data = encode(_model(fitted))
    model = decode(data, name_of(data))
    columns = {feature.name: rng.normal(size=STORIES).astype(np.float32) for feature in FEATURES}
    some = {name: column[:ROWS].copy() for name, column in columns.items()}
    x = model.matrix(some, ROWS)
    with threadpool_limits(1):
        theirs = _median_ms(lambda: [one._raw_predict(x) for one in fitted.values()])
    progress.advance(task)
    walkers = [Walker(outcome.forest, len(model.inputs)) for outcome in model.outcomes]
    ours = _median_ms(lambda: [walker.log_odds(doubled(x)) for walker in walkers])
    whole = _median_ms(lambda: InProcess(model).probabilities(some, ROWS))
    progress.advance(task)
    remote = _service_ms(data, some)
    progress.advance(task)
    first_stage, learned = Weighted(), Learned(Weighted(), model, "learned", ROWS)
    return [
        measured("trees_2000x4", ours, "ms", baseline=theirs, bar=BAR_MS),
        measured("models_in_process_2000x4", whole, "ms", baseline=theirs),
        measured("models_in_service_2000x4", remote, "ms", baseline=whole),
        measured(
            "two_phases_500k",
            _median_ms(lambda: learned.score(columns, STORIES)),
            "ms",
            baseline=_median_ms(lambda: first_stage.score(columns, STORIES)),
        ),
    ]


def _fitted(rng: np.random.Generator) -> dict[str, HistGradientBoostingClassifier]:
    x = rng.normal(size=(TRAINING_ROWS, len(FEATURE_NAMES) + 1)).astype(np.float32)
    made = {}
    for k, name in enumerate(NAMES):
        y = x[:, k] + x[:, k + 1] * x[:, k + 2] + np.sin(3 * x[:, k + 3]) + rng.normal(size=len(x)) > 1
        model = HistGradientBoostingClassifier(
            max_iter=TREES, max_leaf_nodes=LEAVES, early_stopping=False, random_state=0
        )
        with threadpool_limits(1):
            made[name] = model.fit(x, y)
    return made


def _model(fitted: dict[str, HistGradientBoostingClassifier]) -> Model:
    outcomes = tuple(OutcomeModel(name, flatten(one), IDENTITY) for name, one in fitted.items())
    return Model((POSITION, *FEATURE_NAMES), outcomes, WEIGHTS)


def _service_ms(data: bytes, columns: dict[str, F32]) -> float:
    with tempfile.TemporaryDirectory() as directory:
        folder = Folder(Path(directory))
        name = folder.put("main", data)
        with served(create_model_app(folder)) as port:
            service = ModelService(f"http://127.0.0.1:{port}", 10_000)
            took = _median_ms(lambda: service.of(name).probabilities(columns, ROWS))
            service.close()
            return took


def _median_ms(work: Callable[[], object]) -> float:
    work()
    return float(np.median([elapsed_ms(work) for _ in range(REPEATS)]))
