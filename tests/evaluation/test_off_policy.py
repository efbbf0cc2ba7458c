"""The estimators against hand arithmetic, and against the truth of simulated worlds."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from evaluation.off_policy import (
    Logged,
    cross_fitted,
    doubly_robust,
    effective_slots,
    ips,
    read_impressions,
    snips,
)
from features.errors import BadInput
from features.ranking_metrics import TWO_SIDED, Estimate
from lake.simulator import WorldConfig, simulate
from tests.evaluation.replayed_policy import Replay, replay
from tests.lakes import ago, event, story, write_lake

SEEDS = range(20)
WANTED = 17
POSITIONS = 20

FOUR = Logged(np.array([1.0, 0, 1, 0]), np.array([0.5, 0.5, 0.25, 0.5]), np.arange(4))
TARGET = np.array([0.25, 0.75, 0.5, 0.25])
"""Weights 0.5, 1.5, 2, 0.5."""


def test_ips_is_the_mean_of_weighted_rewards() -> None:
    """(0.5 · 1 + 2 · 1) / 4, with the standard error of 0.5, 0, 2, 0 around it."""
    estimate = ips(FOUR, TARGET)
    assert estimate.value == pytest.approx(2.5 / 4)
    error = np.std([0.5, 0, 2, 0], ddof=1) / 2
    assert estimate.high - estimate.value == pytest.approx(TWO_SIDED * error)


def test_snips_divides_by_the_weights() -> None:
    """2.5 / (0.5 + 1.5 + 2 + 0.5)."""
    assert snips(FOUR, TARGET).value == pytest.approx(2.5 / 4.5)


def test_doubly_robust_corrects_the_model_where_it_errs() -> None:
    """Model 0.5 everywhere: 0.5 + mean of w · (reward − 0.5) = 0.5 + (0.25 − 0.75 + 1 − 0.25) / 4."""
    half = np.full(4, 0.5)
    assert doubly_robust(FOUR, TARGET, half, half).value == pytest.approx(0.5 + 0.25 / 4)


def test_a_perfect_model_leaves_nothing_to_correct() -> None:
    assert doubly_robust(FOUR, TARGET, FOUR.reward, np.full(4, 0.3)) == Estimate(
        pytest.approx(0.3), pytest.approx(0.3), pytest.approx(0.3)
    )


def test_slots_of_one_unit_count_as_one_observation() -> None:
    twice = Logged(np.tile(FOUR.reward, 2), np.tile(FOUR.propensity, 2), np.tile(FOUR.unit, 2))
    assert ips(twice, np.tile(TARGET, 2)).high == pytest.approx(ips(FOUR, TARGET).high)


def test_effective_slots_are_all_of_them_when_nothing_changes() -> None:
    assert effective_slots(FOUR, FOUR.propensity) == pytest.approx(4)


def test_cross_fitting_never_uses_a_units_own_reward() -> None:
    """Two folds by parity: units 0 and 2 see the rewards of 1 and 3, which are 0, and the other way round, which are 1."""
    model = cross_fitted(FOUR, np.zeros(4, np.int64), 1, folds=2)
    assert model[:, 0].tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("logged", "target", "said"),
    [
        (Logged(np.ones(2), np.ones(2), np.arange(2)), np.ones(2), "deterministic"),
        (Logged(np.ones(2), np.array([0.0, 0.5]), np.arange(2)), np.ones(2), "propensity"),
        (FOUR, np.full(4, 1.5), "target policy"),
        (FOUR, np.ones(3), "3 probabilities for 4 slots"),
    ],
)
def test_what_cannot_be_estimated_is_refused(logged: Logged, target: np.ndarray, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        ips(logged, target)


def test_a_log_without_propensities_is_refused(tmp_path: Path) -> None:
    lake = write_lake(tmp_path, stories=[story("s")], events=[event("u", "impression", "s", ago(days=1))])
    with pytest.raises(BadInput, match="no impression with a propensity"):
        read_impressions(lake)


@cache
def _world(seed: int, root: Path) -> tuple[Logged, Replay]:
    lake = root / str(seed)
    config = WorldConfig(
        users=80, stories=250, events=12_000, days=6, seed=seed, ends_at=datetime(2026, 2, 1, tzinfo=UTC)
    )
    simulate(config, lake, workers=1)
    slots = read_impressions(lake)
    return slots.logged, replay(lake, slots)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Logged, Replay]]:
    root = tmp_path_factory.mktemp("worlds")
    return [_world(seed, root) for seed in SEEDS]


def test_the_logged_propensity_is_given_the_request_and_the_entries_above(
    worlds: list[tuple[Logged, Replay]],
) -> None:
    """Save where a story came out in the very second in which a session began, which the log does not tell."""
    for logged, truth in worlds:
        equal = np.isclose(logged.propensity, truth.propensity, rtol=1e-3)
        assert equal.mean() > 0.99


def test_the_truth_of_the_logging_policy_is_what_it_earned(worlds: list[tuple[Logged, Replay]]) -> None:
    """The target differs from the log enough to be worth estimating, and weights average to 1."""
    for logged, truth in worlds:
        assert (truth.target / logged.propensity).mean() == pytest.approx(1, abs=0.1)
        assert np.std(truth.target / logged.propensity) > 0.2


def _estimates(logged: Logged, truth: Replay, position: np.ndarray) -> dict[str, Estimate]:
    fresh = truth.fresh.astype(np.int64)
    model = cross_fitted(logged, position * 2 + fresh, 2 * POSITIONS)
    at = np.arange(len(position))
    other, its = model[at, position * 2], model[at, position * 2 + 1]
    return {
        "ips": ips(logged, truth.target),
        "snips": snips(logged, truth.target),
        "doubly robust": doubly_robust(
            logged,
            truth.target,
            np.where(truth.fresh, its, other),
            truth.target_fresh * its + (1 - truth.target_fresh) * other,
        ),
    }


@pytest.mark.parametrize("estimator", ["ips", "snips", "doubly robust"])
def test_the_interval_covers_the_truth(
    worlds: list[tuple[Logged, Replay]], tmp_path_factory: pytest.TempPathFactory, estimator: str
) -> None:
    """Over 20 fixed seeds at least 17 of the 95 % intervals hold the true value of the target policy."""
    covered = []
    for logged, truth in worlds:
        position = truth.position
        estimate = _estimates(logged, truth, position)[estimator]
        covered.append(estimate.low <= truth.value.mean() <= estimate.high)
    assert sum(covered) >= WANTED, f"{estimator} covers {sum(covered)} of {len(covered)}"
