"""What was evaluated, as a table for a user and as rows for a machine."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.table import Table

from evaluation.evaluating import Evaluated, paired
from evaluation.task import Split
from features.ranking_metrics import Estimate

BASELINE = "newest first"
"""What every system is compared with, paired."""
SHOWN = ("recall@5", "recall@10", "ndcg@10", "mrr", "map", "hit@10", "coverage@10", "novelty@10", "author_gini@10")
"""Metrics in the table; the rows hold all."""
AGAINST = ("recall@10", "ndcg@10", "mrr")
Row = dict[str, str | float | None]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One protocol's outcome on one data set."""

    data: str
    split: Split
    evaluated: list[Evaluated]

    def rows(self) -> list[Row]:
        """data, protocol, system, metric, value, low, high; differences to newest first as `metric - newest first`."""
        return [
            row(self.data, self.split.protocol, one.system, metric, estimate)
            for one in self.evaluated
            for metric, estimate in {**one.metrics, **self.against(one)}.items()
        ]

    def against(self, one: Evaluated) -> dict[str, Estimate]:
        """Paired differences to newest first; empty for newest first itself and where it did not run."""
        base = next((other for other in self.evaluated if other.system == BASELINE), None)
        if base is None or base is one:
            return {}
        return {f"{metric} - {BASELINE}": paired(one, base, self.split, metric) for metric in AGAINST}

    def table(self) -> Table:
        """For a user at a terminal."""
        requests, split = len(self.evaluated[0].values["mrr"]), self.split
        title = (
            f"{self.data}, {split.protocol}: {requests:,} requests, {len(split.tasks)} moments, units: {split.unit}s"
        )
        metrics = [metric for metric in SHOWN if any(metric in one.metrics for one in self.evaluated)]
        table = Table("system", *metrics, f"ndcg@10 - {BASELINE}", "s", title=title, box=None)
        for one in self.evaluated:
            shown = [cell(one.metrics[metric]) if metric in one.metrics else "–" for metric in metrics]
            gain = self.against(one).get(f"ndcg@10 - {BASELINE}")
            name = f"{one.system}\n[dim]{one.chosen}[/]" if one.chosen else one.system
            table.add_row(name, *shown, cell(gain, sign="+") if gain else "", f"{sum(one.seconds):.0f}")
        return table


def row(data: str, protocol: str, system: str, metric: str, estimate: Estimate) -> Row:
    """One figure, for machines."""
    of = {"data": data, "protocol": protocol, "system": system, "metric": metric}
    return of | {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def cell(estimate: Estimate, sign: str = "") -> str:
    """The same for a table: the value, and its interval below."""
    return f"{estimate.value:{sign}.4f}\n[dim]{estimate.low:.3f}…{estimate.high:.3f}[/]"


class EvaluatedRows(Protocol):
    """What can be printed and written."""

    def rows(self) -> list[Row]:
        """`{"data", "protocol", "system", "metric", "value", "low", "high"}`."""
        ...

    def table(self) -> Table:
        """For a user at a terminal."""
        ...


def write_rows(evaluations: Iterable[EvaluatedRows], path: Path) -> int:
    """A JSON list of rows; how many."""
    rows = [row for evaluation in evaluations for row in evaluation.rows()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    return len(rows)
