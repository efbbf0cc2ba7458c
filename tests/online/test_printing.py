"""What is printed is what the data say, whatever they look like."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from features.registry import FEATURES
from online.rankers.explanation import explained
from online.rankers.learned import Learned
from online.rankers.weighted import Weighted
from rex.cli.printing import SHOWN, calibration_line, print_feed
from tests.learning.conftest import Made, made

__all__ = ["made"]


def test_titles_and_ids_that_look_like_markup_are_printed_as_they_are() -> None:
    item = {
        "story_id": "s1", "author_id": "[/]", "publication_id": None, "published_at": "2026-01-31T00:00:00Z",
        "position": 0, "title": "How [not] to [/b] write", "reason": "About [x], which you follow", "score": 1.0, "sources": [],
    }  # fmt: skip
    slate = {"snapshot": "v", "model": "m", "candidates": 1, "cached": False, "id": "x"}
    console = Console(file=io.StringIO(), width=200)
    print_feed(console, "[red]u", {"items": [item], "slate": slate, "degraded": []}, {"stages": []})
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    for text in ("How [not] to [/b] write", "About [x], which you follow", "[/]", "Feed of [red]u"):
        assert text in printed


def test_the_path_of_a_story_tells_what_moved_it_from_where_to_where_and_why() -> None:
    moves = [{"step": "blend", "reason": "author_cap", "from": 2, "to": 20}]
    story = {"story_id": "s1", "known": True, "sources": ["trending"], "positions": {"rank": 2}, "moves": moves}
    slate = {"snapshot": "v", "model": "m", "candidates": 1, "cached": False, "id": "x"}
    console = Console(file=io.StringIO(), width=200)
    print_feed(console, "u", {"items": [], "slate": slate, "degraded": []}, {"stages": [], "story": story})
    printed = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert "moved by blend" in printed
    assert "3. → 21. (author cap)" in printed


class TestRanking:
    """What the models said of a story, as `rex feed --explain` prints it."""

    @pytest.fixture
    def story(self, made: Made) -> dict[str, Any]:
        rng = np.random.default_rng(2)
        columns = {feature.name: rng.normal(size=30).astype(np.float32) for feature in FEATURES}
        ranker = Learned(Weighted(), made.loaded, "learned-test", top_k=20)
        ranking = explained(ranker, columns, ranker.score(columns, 30), 7)
        features = {name: float(columns[name][7]) for name in ranker.inputs}
        more = {"known": True, "sources": ["trending"], "positions": {}, "features": features, "contributions": {}}
        return {"story_id": "s1", "ranking": ranking, **more}

    @pytest.fixture
    def rows(self, story: dict[str, Any]) -> dict[str, list[str]]:
        """First cell → the others, of every row that was printed."""
        slate = {"snapshot": "v", "model": "m", "candidates": 1, "cached": False, "id": "x"}
        console = Console(file=io.StringIO(), width=200)
        print_feed(console, "u", {"items": [], "slate": slate, "degraded": []}, {"stages": [], "story": story})
        lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
        cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
        return {row[0]: row[1:] for row in cells}

    def test_what_each_outcome_adds_and_the_value_they_make(self, story: dict[str, Any], rows: Any) -> None:
        ranking = story["ranking"]
        for outcome in ranking["outcomes"]:
            probability, weight, adds = rows[outcome["outcome"]]
            assert (probability, float(weight)) == (f"{outcome['probability']:.5f}", outcome["weight"])
            assert float(adds) == pytest.approx(float(probability) * float(weight), abs=2e-4)
        added = sum(float(rows[outcome["outcome"]][2]) for outcome in ranking["outcomes"])
        assert added == pytest.approx(float(rows["value"][-1]), abs=3e-4)  # each is rounded to four digits

    def test_what_is_printed_of_the_inputs_adds_up_to_the_log_odds(self, story: dict[str, Any], rows: Any) -> None:
        inputs = [name for name in story["ranking"]["outcomes"][0]["shapley"] if name in rows]
        others = next(name for name in rows if name.endswith(" others"))
        assert len(inputs) == SHOWN
        for at, outcome in enumerate(story["ranking"]["outcomes"], start=1):
            parts = [float(rows[name][at]) for name in ("before anything is known", *inputs, others)]
            assert sum(parts) == pytest.approx(float(rows["log-odds"][at]), abs=0.0005 * len(parts))
            assert float(rows["log-odds"][at]) == pytest.approx(outcome["log_odds"], abs=6e-4)

    def test_how_the_log_odds_become_the_probability(self, story: dict[str, Any], rows: Any) -> None:
        for at, outcome in enumerate(story["ranking"]["outcomes"], start=1):
            assert rows["calibration"][at] == outcome["calibration"]
            calibrated = float(rows["calibrated"][at])
            assert 1 / (1 + np.exp(-calibrated)) == pytest.approx(float(rows["probability"][at]), abs=2e-4)
            if outcome["calibration"] == "sigmoid":
                slope, offset = rows["its map here"][at].removeprefix("×").split()
                assert float(slope) * outcome["log_odds"] + float(offset) == pytest.approx(calibrated, abs=0.05)

    @pytest.mark.parametrize(
        ("log_odds", "said"),
        [
            (-4.0, ["-3.00 → -2.00", "and ×1.00"]),
            (-2.5, ["-3.00 → -2.00", "-2.00 → -1.50"]),
            (-1.5, ["-2.00 → -1.50", "-1.00 → -0.50"]),
            (0.0, ["-1.00 → -0.50", "and ×1.00"]),
        ],
    )
    def test_of_a_map_of_steps_the_one_on_which_the_story_stands(self, log_odds: float, said: list[str]) -> None:
        knots = ((-3.0, -2.0), (-2.0, -1.5), (-1.0, -0.5))
        outcome = {"log_odds": log_odds, "calibration_map": knots, "calibration_slope": 1.0}
        assert calibration_line(outcome).splitlines() == said
