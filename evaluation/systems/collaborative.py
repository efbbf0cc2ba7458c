"""Baselines from PyPI (`implicit`): ALS, BPR and item-kNN. They learn who likes what, from (user, story) alone."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from evaluation.ranking import Budget, best_of
from evaluation.reading_log import Log
from evaluation.systems.simple import pair_strengths
from evaluation.task import Split, Task
from features.arrays import F32, I32

SEED = 42
THREADS = 1
"""More would make BPR's updates race, and so its figures change from run to run."""


class _Collaborative:
    """Constants out of a schedule; the first of it without validation."""

    name: ClassVar[str]
    schedule: ClassVar[Sequence[dict[str, Any]]]

    def __init__(self, constants: dict[str, Any] | None = None, budget: Budget | None = None) -> None:
        self.constants = constants or self.schedule[0]
        self._budget = budget or Budget()

    def prepare(self, log: Log, split: Split) -> str:
        """Chooses from the schedule."""
        best = best_of([type(self)(constants) for constants in self.schedule], log, split.validation, self._budget)
        self.constants = (best or self).constants
        return ", ".join(f"{name} {value}" for name, value in self.constants.items())

    def fit(self, log: Log, task: Task) -> None:
        """Learns from log2(1 + Σ strength) of the pairs known."""
        pairs, strength = pair_strengths(log, task)
        matrix = csr_matrix(
            (strength.astype(np.float32), (pairs // log.stories, pairs % log.stories)), (log.users, log.stories)
        )
        with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Method expects CSR input")  # what the library makes itself
            self._learn(matrix)

    def _learn(self, matrix: csr_matrix) -> None:
        raise NotImplementedError

    def scores(self, users: I32) -> F32:
        """float32[users, n]."""
        raise NotImplementedError


class _Factors(_Collaborative):
    """score = user's vector · story's vector."""

    _model: Any

    def scores(self, users: I32) -> F32:
        """float32[users, n]."""
        return np.asarray(self._model.user_factors[users] @ self._model.item_factors.T, np.float32)


class ALS(_Factors):
    """Hu, Koren, Volinsky, ICDM 2008."""

    name: ClassVar[str] = "implicit ALS"
    schedule: ClassVar[Sequence[dict[str, Any]]] = [
        {"factors": factors, "alpha": alpha, "regularization": alpha * ratio}  # what matters is their ratio
        for factors, (alpha, ratio) in itertools.product(
            (64, 32, 128), ((10.0, 10.0), (40.0, 10.0), (10.0, 3.0), (1.0, 10.0), (10.0, 30.0), (40.0, 1.0), (1.0, 0.1))
        )
    ]

    def _learn(self, matrix: csr_matrix) -> None:
        from implicit.cpu.als import AlternatingLeastSquares

        self._model = AlternatingLeastSquares(**self.constants, iterations=15, num_threads=THREADS, random_state=SEED)
        self._model.fit(matrix, show_progress=False)


class BPR(_Factors):
    """Rendle et al., UAI 2009."""

    name: ClassVar[str] = "implicit BPR"
    schedule: ClassVar[Sequence[dict[str, Any]]] = [
        {"factors": factors, "learning_rate": rate, "regularization": regularization, "iterations": iterations}
        for factors, iterations, (rate, regularization) in itertools.product(
            (64, 32), (300, 100), ((0.05, 0.05), (0.1, 0.05), (0.05, 0.02), (0.02, 0.01))
        )
    ]

    def _learn(self, matrix: csr_matrix) -> None:
        from implicit.cpu.bpr import BayesianPersonalizedRanking

        self._model = BayesianPersonalizedRanking(**self.constants, num_threads=THREADS, random_state=SEED)
        self._model.fit(matrix, show_progress=False)


class ItemKNN(_Collaborative):
    """Stories read by those who read the same: Sarwar et al., WWW 2001, with the library's three weightings."""

    name: ClassVar[str] = "implicit item-kNN"
    schedule: ClassVar[Sequence[dict[str, Any]]] = [
        {"weighting": weighting, "K": neighbours}
        for neighbours, weighting in itertools.product((100, 50, 200, 1000), ("cosine", "tfidf", "bm25"))
    ]

    def _learn(self, matrix: csr_matrix) -> None:
        from implicit.nearest_neighbours import BM25Recommender, CosineRecommender, TFIDFRecommender

        kinds = {"cosine": CosineRecommender, "tfidf": TFIDFRecommender, "bm25": BM25Recommender}
        self._read = matrix
        self._model = kinds[self.constants["weighting"]](K=self.constants["K"], num_threads=THREADS)
        self._model.fit(matrix, show_progress=False)

    def scores(self, users: I32) -> F32:
        """float32[users, n]: Σ similarity to what the user has read, weighted by strength."""
        return np.asarray((self._read[users] @ self._model.similarity.tocsr()).todense(), np.float32)
