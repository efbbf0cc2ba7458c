"""What `rex eval` prints, writes and refuses; Rex itself is in test_rex_system.py, so only simple feeds run here."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from evaluation.report import Evaluation, write_rows
from evaluation.run import evaluate
from features.errors import BadInput
from tests.evaluation.logs import at, interactions
from tests.lakes import write_lake

NOW = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """Ann and Ben read seven of twelve stories each, on three days; two stories have an author."""
    stories = [{"story_id": f"s{i}", "published_at": at(0), "author_id": f"w{i}" if i < 2 else None} for i in range(12)]
    rows = [
        (user, f"s{i + shift}", day)
        for user, shift in (("ann", 0), ("ben", 2))
        for i, day in enumerate((1, 1, 1, 1, 1, 2.5, 3.5))
    ]
    return write_lake(tmp_path / "lake", stories=stories, events=interactions(rows))


def _evaluated(lake: Path, tmp_path: Path, **more: object) -> list[Evaluation]:
    return evaluate(lake, now=NOW, work=tmp_path / "work", rankers=(), baselines=False, **more)  # type: ignore[arg-type]


def test_rows_have_the_agreed_columns_and_one_row_a_metric(lake: Path, tmp_path: Path) -> None:
    evaluations = _evaluated(lake, tmp_path, protocols=["rolling"], data="small")
    path = tmp_path / "rows.json"
    written = write_rows(evaluations, path)
    rows = json.loads(path.read_text())
    assert len(rows) == written
    assert {tuple(row) for row in rows} == {("data", "protocol", "system", "metric", "value", "low", "high")}
    assert {row["system"] for row in rows} == {"newest first", "popularity", "decayed popularity"}
    assert {(row["data"], row["protocol"]) for row in rows} == {("small", "rolling")}
    names = [(row["system"], row["metric"]) for row in rows]
    assert len(set(names)) == len(names)
    assert {"recall@10", "ndcg@10", "mrr", "map", "coverage@10", "novelty@10", "author_gini@10"} <= {
        m for _, m in names
    }
    assert ("popularity", "ndcg@10 - newest first") in names
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows if row["metric"] != "mrr")


def test_two_runs_write_the_same_rows(lake: Path, tmp_path: Path) -> None:
    one, other = (_evaluated(lake, tmp_path, protocols=["rolling", "time"]) for _ in range(2))
    assert [e.rows() for e in one] == [e.rows() for e in other]


def test_the_table_names_every_system_and_the_units(lake: Path, tmp_path: Path) -> None:
    (evaluation,) = _evaluated(lake, tmp_path, protocols=["rolling"])
    console = Console(file=io.StringIO(), width=250)
    console.print(evaluation.table())
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "units: days" in shown
    assert all(name in shown for name in ("newest first", "popularity", "decayed popularity", "half-life"))


def test_without_names_what_does_not_fit_is_left_out_with_the_reason(lake: Path, tmp_path: Path) -> None:
    """Twelve stories leave no hundred negatives for the published protocol."""
    console = Console(file=io.StringIO(), width=250)
    evaluations = _evaluated(lake, tmp_path, console=console)
    assert [e.split.protocol for e in evaluations] == ["rolling", "random", "time"]
    assert "too few for 100 negatives" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_protocol_asked_for_by_name_must_fit(lake: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="too few for 100 negatives"):
        _evaluated(lake, tmp_path, protocols=["published"])
    with pytest.raises(BadInput, match="no protocol weekly; choose among published, rolling, random, time"):
        _evaluated(lake, tmp_path, protocols=["weekly"])


def test_a_lake_where_nobody_read_enough_says_what_to_do(tmp_path: Path) -> None:
    lake = write_lake(
        tmp_path / "lake", stories=[{"story_id": "s", "published_at": at(0)}], events=interactions([("ann", "s", 1)])
    )
    with pytest.raises(BadInput, match="bring more events"):
        _evaluated(lake, tmp_path)


def test_nothing_is_left_behind_or_written_into_the_lake(lake: Path, tmp_path: Path) -> None:
    before = sorted(path.relative_to(lake) for path in lake.rglob("*"))
    _evaluated(lake, tmp_path, protocols=["rolling"])
    assert sorted(path.relative_to(lake) for path in lake.rglob("*")) == before
    assert not list((tmp_path / "work").iterdir())
