"""Measures by hand, intervals that hold the truth, the gate and the card."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import log_loss, ndcg_score, roc_auc_score

from features.ranking_metrics import auc, ndcg, order_within, places, reciprocal_rank, reliability
from learning.evaluate import MODEL, ModelRefused, admit, as_rows, baselines, evaluate, shortfalls
from learning.examples import examples_of
from learning.train import train
from online.rankers.models.model import POSITION
from online.rankers.models.model_file import decode
from tests.learning.conftest import SMALL, Made
from tests.learning.made import examples_table

# Two requests: the first has positives at places 1 and 3 of 3 rows, the second none.
REQUEST = np.array([0, 0, 0, 1, 1], np.int32)
SCORE = np.array([0.9, 0.5, 0.1, 0.3, 0.2])
GAIN = np.array([0.0, 5.0, 1.0, 0.0, 0.0])
TIE = np.arange(5)


class TestMeasures:
    def test_by_hand(self) -> None:
        order = order_within(REQUEST, SCORE, TIE)
        assert auc(REQUEST, SCORE, GAIN > 0)[0] == 0.0  # the negative is above both positives
        assert reciprocal_rank(REQUEST, places(REQUEST), GAIN[order] > 0)[0] == 1 / 2  # the first positive is second
        dcg, ideal = 5 / np.log2(3) + 1 / np.log2(4), 5 / np.log2(2) + 1 / np.log2(3)
        assert ndcg(REQUEST, places(REQUEST), GAIN[order])[0] == pytest.approx(dcg / ideal)

    def test_a_request_without_a_positive_says_nothing(self) -> None:
        order = order_within(REQUEST, SCORE, TIE)
        for of_request in (
            auc(REQUEST, SCORE, GAIN > 0),
            ndcg(REQUEST, places(REQUEST), GAIN[order]),
            reciprocal_rank(REQUEST, places(REQUEST), GAIN[order] > 0),
        ):
            assert np.isnan(of_request).tolist() == [False, True]

    def test_as_scikit_learn_counts_also_with_ties(self) -> None:
        rng = np.random.default_rng(8)
        request = np.repeat(np.arange(40, dtype=np.int32), 15)
        score = rng.integers(0, 6, 600) / 6
        positive = rng.random(600) < 0.4
        assert auc(request, score, positive) == pytest.approx(
            [roc_auc_score(positive[request == r], score[request == r]) for r in range(40)]
        )
        untied = rng.random(600)
        gain = rng.integers(0, 4, 600).astype(float)
        order = order_within(request, untied, np.arange(600))
        assert ndcg(request, places(request), gain[order]) == pytest.approx(
            [ndcg_score(gain[None, request == r], untied[None, request == r], k=10) for r in range(40)]
        )

    def test_reliability_of_honest_probabilities_lies_on_the_diagonal(self) -> None:
        rng = np.random.default_rng(9)
        p = rng.random(50_000)
        table = reliability(p, rng.random(50_000) < p, np.ones(50_000))
        assert table[:, 1] == pytest.approx(table[:, 0], abs=0.03)  # four standard errors of 5,000 rows
        assert table[:, 2].sum() == pytest.approx(1.0)


@pytest.fixture(scope="module")
def evaluation(made: Made):  # type: ignore[no-untyped-def]
    return evaluate(made.loaded, made.examples.part(made.slices.held_out), times=300)


class TestEvaluation:
    def test_the_model_is_put_beside_what_needs_no_learning(self, evaluation) -> None:  # type: ignore[no-untyped-def]
        assert list(evaluation.systems) == [MODEL, "popularity", "recency", "hand_weighted"]
        for of in evaluation.systems.values():
            assert list(of) == ["auc", "ndcg@10", "mrr", "author_coverage"]
            assert all(e.low <= e.value <= e.high for m, e in of.items() if m != "author_coverage")

    def test_log_loss_is_that_of_scikit_learn(self, made: Made, evaluation) -> None:  # type: ignore[no-untyped-def]
        held = made.examples.part(made.slices.held_out)
        columns = {name: held.column(name) for name in made.loaded.features}
        x = made.loaded.matrix(columns, len(held), held.column(POSITION))
        expected = log_loss(held.labels["open"], made.loaded.probabilities(x)["open"])
        assert evaluation.outcomes["open"]["log_loss"].value == pytest.approx(expected)

    def test_probabilities_are_those_of_where_a_story_stood(self, made: Made, evaluation) -> None:  # type: ignore[no-untyped-def]
        """A story low on the page is opened less; evaluated as if all had stood on top, every honest model looked wrong."""
        held = made.examples.part(made.slices.held_out)
        assert len(np.unique(held.column(POSITION))) > 1
        opened = evaluation.outcomes["open"]
        assert opened["log_loss"].high < opened["base_log_loss"].low
        assert opened["ece"].value < 0.05

    def test_what_is_known_to_be_better_is_surely_ahead(self, made: Made, evaluation) -> None:  # type: ignore[no-untyped-def]
        assert all(ahead["ndcg@10"].low > 0 for ahead in evaluation.ahead.values())
        assert shortfalls(evaluation) == []

    def test_a_difference_is_the_difference_of_the_two(self, evaluation) -> None:  # type: ignore[no-untyped-def]
        ahead = evaluation.ahead["recency"]["auc"].value
        assert ahead == pytest.approx(
            evaluation.systems[MODEL]["auc"].value - evaluation.systems["recency"]["auc"].value
        )

    def test_rows_name_system_measure_and_interval(self, evaluation) -> None:  # type: ignore[no-untyped-def]
        rows = as_rows(evaluation)
        assert all(row.keys() == {"system", "metric", "value", "low", "high"} for row in rows)
        assert {"system": MODEL, "metric": "author_coverage"}.items() <= rows[3].items()

    def test_a_baseline_that_knows_nothing_has_an_auc_of_one_half(self, made: Made) -> None:
        examples = made.examples
        estimate = auc(examples.request, baselines(examples)["popularity"], examples.labels["open"])
        assert np.nanmean(estimate) == pytest.approx(0.5, abs=0.04)  # popularity is noise in these examples


class TestTraining:
    def test_a_good_model_is_released_with_its_card(self, made: Made, tmp_path: Path) -> None:
        trained = train(made.examples, time.monotonic, tmp_path, schedule=SMALL, sampling="One in ten, by dice.")
        assert decode(trained.data, trained.name).about["sampling"] == "One in ten, by dice."
        text = trained.card.read_text()
        for part in (
            trained.name,
            "One in ten, by dice.",
            "2023-11-28",
            "topic_affinity",
            "hand_weighted",
            "calibration.png",
        ):
            assert part in text
        for picture in ("calibration.png", "importance.png"):
            assert (tmp_path / trained.name / picture).read_bytes().startswith(b"\x89PNG")

    def test_a_model_without_anything_to_learn_is_refused_unless_forced(self, tmp_path: Path) -> None:
        examples = examples_of(examples_table(requests=400, signal=0.0))
        with pytest.raises(ModelRefused, match="may be no better"):
            train(examples, time.monotonic, tmp_path, schedule=SMALL)
        [card] = tmp_path.glob("*/card.md")
        assert "may be no better" in card.read_text()
        evaluation = train(examples, time.monotonic, tmp_path, schedule=SMALL, force=True).evaluation
        assert admit(evaluation, force=True)

    def test_weights_of_sampled_negatives_bring_back_the_rate(self, made: Made) -> None:
        held = made.examples.part(made.slices.held_out)
        weighted = replace(held, weight=np.where(held.labels["open"], 1.0, 10.0))
        plain, ten = evaluate(made.loaded, held, times=50), evaluate(made.loaded, weighted, times=50)
        assert ten.outcomes["open"]["ece"].value > plain.outcomes["open"]["ece"].value + 0.05
