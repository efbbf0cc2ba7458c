"""Two phases: the models order the best of the first-stage ranker, everything else stays below in first-stage order."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from features.arrays import F32, F64
from features.errors import BadInput, Unavailable
from features.registry import FEATURES
from online.rankers.explanation import explain
from online.rankers.learned import MODEL_SERVICE, Learned
from online.rankers.models.outcomes import NAMES, weights_with
from online.rankers.weighted import Weighted
from tests.learning.conftest import Made

N = 3000


def _columns(n: int = N, seed: int = 2) -> dict[str, F32]:
    rng = np.random.default_rng(seed)
    return {feature.name: rng.normal(size=n).astype(np.float32) for feature in FEATURES}


@pytest.fixture
def ranker(made: Made) -> Learned:
    return Learned(Weighted(), made.loaded, "learned-test", top_k=500)


def test_the_best_of_the_first_stage_ranker_are_on_top_by_value(ranker: Learned) -> None:
    columns = _columns()
    score = ranker.score(columns, N)
    first_stage = ranker.first_stage.score(columns, N)
    top = np.sort(np.argsort(first_stage)[-500:])
    values = ranker.model.value(ranker.model.matrix(columns, N))
    assert set(np.argsort(score)[-500:]) == set(top)
    assert score[top].tobytes() == values[top].tobytes()


def test_the_others_stay_below_in_light_order(ranker: Learned) -> None:
    columns = _columns()
    score, first_stage = ranker.score(columns, N), ranker.first_stage.score(columns, N)
    rest = np.setdiff1d(np.arange(N), ranker.top(first_stage))
    assert score[rest].max() < np.delete(score, rest).min()
    assert (np.diff(score[rest][np.argsort(first_stage[rest], kind="stable")]) >= 0).all()
    assert len(np.unique(score[rest])) > 0.99 * len(rest)


@pytest.mark.parametrize("n", [0, 1, 499, 500, 501])
def test_any_number_of_candidates_can_be_ranked(ranker: Learned, n: int) -> None:
    score = ranker.score(_columns(n), n)
    assert score.shape == (n,)
    assert score.dtype == np.float32
    assert np.isfinite(score).all()


def test_among_equal_first_stage_scores_the_models_take_the_newest(ranker: Learned) -> None:
    columns = {name: np.zeros(N, np.float32) for name in _columns(1)}
    assert ranker.top(ranker.first_stage.score(columns, N)).tolist() == list(range(N - 500, N))


def test_a_story_has_the_same_value_whatever_else_is_ranked(ranker: Learned) -> None:
    columns = _columns(500)
    together = ranker.score(columns, 500)
    for i in range(0, 500, 50):
        assert ranker.score({name: c[i : i + 1] for name, c in columns.items()}, 1)[0] == together[i]


def test_weights_of_a_variant_change_the_value_alone(made: Made) -> None:
    columns = _columns(300)
    opens = Learned(
        Weighted(),
        made.loaded,
        "opens",
        500,
        weights=weights_with({"read": 0, "positive_feedback": 0, "negative_feedback": 0}),
    )
    probability = made.loaded.probabilities(made.loaded.matrix(columns, 300))["open"]
    assert opens.score(columns, 300) == pytest.approx(probability.astype(np.float32))
    with pytest.raises(BadInput, match=r"unknown outcomes \['sleep'\]"):
        weights_with({"sleep": 1})


class _Gone:
    def probabilities(self, columns: Mapping[str, F32], n: int) -> Mapping[str, F64]:
        raise Unavailable("the model service did not answer within 1 ms")


def test_without_the_model_service_the_light_order_stands_and_it_is_told(made: Made) -> None:
    columns = _columns()
    told: list[tuple[str, Exception]] = []
    ranker = Learned(Weighted(), made.loaded, "learned-test", 500, scorer=_Gone())
    score = ranker.score(columns, N, lambda part, error: told.append((part, error)))
    assert (score == ranker.first_stage.score(columns, N)).all()
    assert [part for part, _ in told] == [MODEL_SERVICE]


class TestExplanation:
    def test_shares_add_up_to_the_value_and_the_value_is_the_score(self, ranker: Learned) -> None:
        columns = _columns()
        scores = ranker.score(columns, N)
        for at in ranker.top(ranker.first_stage.score(columns, N))[:20]:
            told = explain(ranker, columns, scores, int(at))
            total = np.float32(0)
            for outcome in told.outcomes:
                total += np.float32(outcome.share)
                assert np.float32(outcome.weight * outcome.probability) == np.float32(outcome.share)
            assert told.phase == "models"
            assert float(total) == told.value == told.score == float(scores[at])

    def test_shapley_values_add_up_to_the_log_odds_and_the_map_leads_to_the_probability(self, ranker: Learned) -> None:
        columns = _columns()
        scores = ranker.score(columns, N)
        told = explain(ranker, columns, scores, int(np.argmax(scores)))
        assert tuple(outcome.outcome for outcome in told.outcomes) == NAMES
        for outcome in told.outcomes:
            assert outcome.base + sum(outcome.shapley.values()) == pytest.approx(outcome.log_odds, abs=1e-9)
            (x, y), slope = np.array(outcome.calibration_map).T, outcome.calibration_slope
            beyond = slope * (min(outcome.log_odds - x[0], 0) + max(outcome.log_odds - x[-1], 0))
            calibrated = np.interp(outcome.log_odds, x, y) + beyond
            assert 1 / (1 + np.exp(-calibrated)) == pytest.approx(outcome.probability, rel=1e-12)

    def test_a_story_below_the_cut_is_explained_by_the_first_stage_ranker(self, ranker: Learned) -> None:
        columns = _columns()
        scores, first_stage = ranker.score(columns, N), ranker.first_stage.score(columns, N)
        at = int(np.argmin(first_stage))
        told = explain(ranker, columns, scores, at)
        assert (told.phase, told.first_stage_rank) == ("first_stage", N - 1)
        assert np.float32(sum(told.first_stage.values())) == pytest.approx(first_stage[at], abs=1e-5)

    def test_a_feed_that_went_without_the_models_is_told_so(self, made: Made) -> None:
        columns = _columns()
        ranker = Learned(Weighted(), made.loaded, "learned-test", 500, scorer=_Gone())
        scores = ranker.score(columns, N, lambda part, error: None)
        assert explain(ranker, columns, scores, int(np.argmax(scores))).phase == "first_stage"


def test_a_column_that_is_not_there_is_no_fault_of_the_model_service(ranker: Learned) -> None:
    columns = _columns()
    missing = next(name for name in ranker.model.features if name not in ranker.first_stage.inputs)
    del columns[missing]
    with pytest.raises(KeyError, match=missing):
        ranker.score(columns, N, lambda part, error: None)
