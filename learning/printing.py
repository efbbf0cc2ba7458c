"""A verdict for a user at a terminal."""

from __future__ import annotations

import math

from rich.table import Table

from features.ranking_metrics import Estimate
from learning.evaluate import MODEL, RANKING
from learning.gate import DECIDING
from learning.train import EvaluatedModel


def verdict_table(evaluated: EvaluatedModel) -> Table:
    """Rankings of the held-out days side by side, and by how much the model is ahead of each in what decides."""
    evaluation = evaluated.evaluation
    measures = [*RANKING, "author_coverage"]
    title = f"{evaluation.requests:,} held-out requests with {evaluation.rows:,} stories; 95% intervals"
    table = Table("ranking", *measures, f"model's lead in {DECIDING}", box=None, title=title)
    for name, of in evaluation.systems.items():
        lead = "" if name == MODEL else told(evaluation.ahead[name][DECIDING], sign="+")
        table.add_row(name, *(told(of[measure]) for measure in measures), lead)
    return table


def lead_line(evaluated: EvaluatedModel) -> str:
    """The decisive measure in one line."""
    systems = evaluated.evaluation.systems
    values = ", ".join(f"{name} {of[DECIDING].value:.4f}" for name, of in systems.items())
    return f"{DECIDING} on the held-out days: {values}"


def told(estimate: Estimate, sign: str = "") -> str:
    """`0.4112 (0.4050 to 0.4171)`; a dash for what cannot be told."""
    if math.isnan(estimate.value):
        return "–"
    interval = "" if math.isnan(estimate.low) else f" ({estimate.low:{sign}.4f} to {estimate.high:{sign}.4f})"
    return f"{estimate.value:{sign}.4f}{interval}"
