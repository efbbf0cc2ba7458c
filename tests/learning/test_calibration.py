"""Calibration is monotone without ties, and brings probabilities that hold."""

from __future__ import annotations

import numpy as np
import pytest

from learning.calibration import calibrate
from online.rankers.models.model import IDENTITY, sigmoid


def _drawn(n: int, shift: float, scale: float, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Raw log-odds, and labels drawn with log-odds scale · raw + shift."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(size=n)
    return raw, rng.random(n) < sigmoid(scale * raw + shift)


def test_few_positives_make_a_sigmoid_that_finds_slope_and_offset() -> None:
    raw, label = _drawn(4000, -2.0, 0.5)
    made = calibrate(raw, label, np.ones(4000))
    assert made.kind == "sigmoid"
    assert (made.slope, made.y[0]) == (pytest.approx(0.5, abs=0.15), pytest.approx(-2.0, abs=0.15))


def test_many_positives_make_steps_that_follow_any_bend() -> None:
    rng = np.random.default_rng(4)
    raw = rng.normal(size=60_000)
    truth = np.where(raw > 0, 0.5, 0.1)  # a step, which no sigmoid can follow
    made = calibrate(raw, rng.random(60_000) < truth, np.ones(60_000))
    assert made.kind == "isotonic"
    for low, high, rate in ((-1.5, -0.3, 0.1), (0.3, 1.5, 0.5)):
        assert made.probability(np.linspace(low, high, 50)) == pytest.approx(rate, abs=0.06)


@pytest.mark.parametrize("n", [4000, 60_000])
def test_the_map_is_strictly_increasing_also_beyond_its_ends(n: int) -> None:
    raw, label = _drawn(n, -1.0, 1.0)
    made = calibrate(raw, label, np.ones(n))
    assert (np.diff(made.log_odds(np.linspace(-20, 20, 4001))) > 0).all()


def test_weights_count_like_repeated_rows() -> None:
    raw, label = _drawn(4000, -2.0, 0.5)
    weight = np.where(label, 1.0, 3.0)
    again = np.repeat(np.arange(4000), weight.astype(int))
    one, other = calibrate(raw, label, weight), calibrate(raw[again], label[again], np.ones(len(again)))
    assert one.log_odds(raw) == pytest.approx(other.log_odds(raw), abs=1e-3)


def test_what_cannot_be_told_from_chance_is_left_alone() -> None:
    raw, label = _drawn(4000, -8.0, 0.0)
    assert calibrate(raw, label, np.ones(4000)) is IDENTITY
    assert calibrate(-raw, _drawn(4000, -2.0, 1.0)[1], np.ones(4000)) is IDENTITY
