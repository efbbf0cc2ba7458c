"""Judging by what users truly want: the gain, the gap, who is evaluated on what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from evaluation.reading_log import read_log
from evaluation.systems.simple import Popularity
from evaluation.true_interest import HAND, REX, SEGMENTS, ByTruth, _of_baselines, _users, ndcg_of
from features.times import micros
from lake.simulator.config import WorldConfig
from lake.simulator.run import simulate
from lake.simulator.world import load_world

END = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lake = tmp_path_factory.mktemp("world") / "lake"
    simulate(WorldConfig(users=300, stories=600, events=20_000, days=6, ends_at=END), lake)
    return lake


def test_a_perfect_order_has_one_and_equal_scores_put_the_newest_first() -> None:
    gain = np.linspace(0.9, 0.1, 12).astype(np.float32)
    assert ndcg_of(gain, gain) == pytest.approx(1)
    assert ndcg_of(-gain, gain) < 0.6
    assert ndcg_of(np.zeros(12, np.float32), gain) == ndcg_of(np.arange(12, dtype=np.float32), gain)


def test_the_gap_is_what_lies_between_the_named_weights_and_a_perfect_order() -> None:
    hand, rex = np.array([0.5, 0.6, 0.4, 0.5]), np.array([0.75, 0.8, 0.7, 0.75])
    found = ByTruth("small", {"all": {REX: rex, HAND: hand}})
    assert found.gap_closed("all", REX).value == pytest.approx(0.5)
    assert found.gap_closed("all", HAND).value == 0
    assert found.gap_closed("all", REX).low == pytest.approx(0.5, abs=0.01)
    rows = {(row["system"], row["metric"]): row["value"] for row in found.rows()}
    assert rows[REX, "gap closed of all"] == pytest.approx(0.5)
    assert rows[HAND, "ndcg@10 of all"] == pytest.approx(0.5)
    assert found.table().row_count == 2


def test_those_who_joined_on_the_last_day_are_judged_apart(lake: Path) -> None:
    truth = load_world(lake)
    users = _users(truth, END)
    assert set(users) == {SEGMENTS[0], SEGMENTS[2]}
    created = {f"u{i:06d}": at for i, at in enumerate(truth.truth.users.created_us)}
    day = micros(END - timedelta(days=1))
    assert users[SEGMENTS[2]]
    assert all(created[one] >= day for one in users[SEGMENTS[2]])
    assert all(created[one] < day for one in users[SEGMENTS[0]])


def test_baselines_know_all_that_was_read(lake: Path) -> None:
    log = read_log(lake)
    (baseline,) = _of_baselines(log, micros(END), [Popularity()]).values()
    scores = baseline.scores(np.array([0], np.int32))[0]
    assert (scores > 0).sum() == len(np.unique(log.story))
