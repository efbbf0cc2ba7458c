"""The notebook runs as it is, and its numbers are those counted by hand."""

from __future__ import annotations

import importlib
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from features.errors import BadInput
from tests.batch.feature_lake import AS_OF, Row, story, write_dataset
from tests.lakes import ANY_NAME

pytestmark = pytest.mark.process

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "feed_quality.py"
STORIES = [
    story("s1", 9, author_id="ann", publication_id="paper"),
    story("s2", 9, author_id="ann"),
    story("s3", 9, author_id="bob", publication_id="paper"),
    story("s4", 9, author_id="cid"),  # never shown: counts in the Gini all the same
    story("s1", 9, author_id="ann", publication_id="paper", updated_at=AS_OF - timedelta(hours=1)),  # a second version
]


def event(number: int, kind: str, story_id: str, **more: Any) -> Row:
    """By one user; the same user may meet a story in several requests."""
    at = AS_OF - timedelta(hours=1)
    return {
        "event_id": str(number),
        "user_id": "u",
        "story_id": story_id,
        "type": kind,
        "occurred_at": at,
        "received_at": at,
    } | more


def shown(number: int, story_id: str, request_id: str, position: int, source: str, propensity: float) -> Row:
    of_request = {"request_id": request_id, "position": position, "source": source, "propensity": propensity}
    return event(number, "impression", story_id, **of_request)


EVENTS = [
    shown(1, "s1", "r1", 0, "trending", 0.5),
    shown(2, "s2", "r1", 1, "fresh_stories", 0.1),
    shown(3, "s1", "r2", 0, "trending", 0.25),
    shown(4, "s3", "r2", 1, "trending", 0.125),
    event(5, "open", "s1", request_id="r1"),
    event(6, "open", "s1", request_id="r1"),  # opened twice: still one impression opened
    event(7, "read", "s1", request_id="r1"),
    event(8, "open", "s3", request_id="r2"),
    event(9, "read", "s2"),  # from a search engine: a read, but of no impression
]


def write_lake(lake: Path, events: list[Row], stories: list[Row]) -> None:
    write_dataset(lake, "valid_stories", stories)
    write_dataset(lake, "valid_events", events)
    # An earlier run, which knew all this already: it must not be counted as well.
    write_dataset(lake, "valid_events", events, AS_OF - timedelta(days=1))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs every cell over `tmp_path`; returns what they define."""
    monkeypatch.setenv("REX_LAKE", str(tmp_path))
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.syspath_prepend(str(NOTEBOOK.parent))

    def execute() -> dict[str, Any]:
        _, definitions = importlib.import_module(NOTEBOOK.stem).app.run()
        return dict(definitions)

    return execute


class TestFeed:
    @pytest.fixture
    def found(self, tmp_path: Path, run: Any) -> dict[str, Any]:
        write_lake(tmp_path, EVENTS, STORIES)
        return dict(run())

    def test_who_dominates(self, found: dict[str, Any]) -> None:
        authors = found["dominant"]["author"]
        assert authors["name"].tolist() == ["ann", "bob", "cid"]
        assert authors["impressions"].tolist() == [3, 1, 0]
        assert authors["reads"].tolist() == [2, 0, 0]
        assert found["dominant"]["publication"]["impressions"].tolist() == [3]

    def test_gini(self, found: dict[str, Any]) -> None:
        # Sum of all |x_i - x_j| over 2 n² mean: (0, 1, 3) → 2 (1 + 3 + 2) / (2 · 9 · 4/3) = 1/2; (0, 0, 2) → 2/3
        assert found["gini"]["author", "impressions"] == pytest.approx(1 / 2)
        assert found["gini"]["author", "reads"] == pytest.approx(2 / 3)
        assert found["gini"]["publication", "impressions"] == pytest.approx(0), "one publication cannot be unequal"

    def test_sources_raw_and_weighted(self, found: dict[str, Any]) -> None:
        sources = found["by_source"]
        assert sources["source"].tolist() == ["fresh_stories", "trending"]
        assert sources["impressions"].tolist() == [1, 3]
        assert sources["open_rate"].tolist() == pytest.approx([0, 2 / 3])
        assert sources["read_rate"].tolist() == pytest.approx([0, 1 / 3])
        # Weights of the three trending impressions: 2, 4, 8; opened: the first and the last; read: the first.
        assert sources["weighted_open_rate"].tolist() == pytest.approx([0, 10 / 14])
        assert sources["weighted_read_rate"].tolist() == pytest.approx([0, 2 / 14])
        assert sources["effective"].tolist() == pytest.approx([1, 14**2 / (4 + 16 + 64)])

    def test_positions(self, found: dict[str, Any]) -> None:
        positions = found["by_position"]
        assert positions["position"].tolist() == [0, 1]
        assert positions["open_rate"].tolist() == pytest.approx([1 / 2, 1 / 2])

    def test_both_figures_are_drawn(self, found: dict[str, Any]) -> None:
        titles = [axes.get_title() for axes in found["dominance_figure"].axes + found["sources_figure"].axes]
        assert titles[0] == "By author"
        assert titles[-2:] == ["By source", "By position"]


class TestOtherLakes:
    def test_without_impressions_reads_remain(self, tmp_path: Path, run: Any) -> None:
        write_lake(
            tmp_path, [event(1, "read", "s1"), event(2, "read", "s2")], [story("s1", 9), story("s2", 9), story("s3", 9)]
        )
        found = run()
        assert found["sources_figure"] is None
        assert list(found["dominant"]) == ["story"], "this lake knows no authors and no publications"
        assert found["gini"]["story", "reads"] == pytest.approx(1 / 3)

    def test_without_a_batch_run_it_is_empty(self, tmp_path: Path, run: Any) -> None:
        found = run()
        assert found["dominant"] == {}
        assert found["sources_figure"] is None

    def test_a_missing_lake_says_so(self, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REX_LAKE", str(tmp_path / "gone"))
        with pytest.raises(BadInput, match="There is no lake at"):
            run()


def test_exports_to_a_page_that_can_be_mailed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lake(tmp_path / ANY_NAME, EVENTS, STORIES)
    monkeypatch.setenv("REX_LAKE", str(tmp_path / ANY_NAME))
    page = tmp_path / "page.html"
    command = [sys.executable, "-m", "marimo", "export", "html", str(NOTEBOOK), "-o", str(page), "--no-include-code"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert page.read_text().count("data:image/png;base64") >= 2, "a figure is missing"
