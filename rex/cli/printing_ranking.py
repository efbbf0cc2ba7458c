"""Why the learned ranker put a story where it stands, for a user at a terminal."""

from __future__ import annotations

from bisect import bisect
from math import log
from typing import Any

from rich.table import Table

SHOWN = 10
"""Inputs told one by one, those that add most to any outcome; the others are added up."""


def value_table(ranking: dict[str, Any]) -> Table:
    """What each outcome adds to the value."""
    said = f"Its value {ranking['value']:.4f}" + ("" if ranking["phase"] == "models" else ", had the models scored it")
    table = Table(title=said, title_justify="left")
    for name in ("outcome", "probability", "× weight", "= adds"):
        table.add_column(name, justify="left" if name == "outcome" else "right")
    for outcome in ranking["outcomes"]:
        table.add_row(
            outcome["outcome"], f"{outcome['probability']:.5f}", f"{outcome['weight']:g}", f"{outcome['share']:+.4f}"
        )
    table.add_section()
    table.add_row("value", "", "", f"{ranking['value']:.4f}")
    if ranking["phase"] == "first_stage":
        table.add_row("scored by the first-stage ranker", "", "", f"{ranking['score']:.4f}")
    table.add_row(
        "first-stage ranker", "", f"{ranking['first_stage_rank'] + 1:,}.", f"{ranking['first_stage_score']:.4f}"
    )
    return table


def shapley_table(ranking: dict[str, Any], features: dict[str, float]) -> Table:
    """What each input adds to the log-odds of each outcome, down to the probability."""
    outcomes = ranking["outcomes"]
    table = Table(title="What makes each outcome as likely as it is (log-odds, Shapley values)", title_justify="left")
    for name in ("input", "is", *(outcome["outcome"] for outcome in outcomes)):
        table.add_column(name, justify="left" if name == "input" else "right")
    table.add_row("before anything is known", "", *(f"{outcome['base']:+.3f}" for outcome in outcomes))
    names = sorted(outcomes[0]["shapley"], key=lambda name: -max(abs(outcome["shapley"][name]) for outcome in outcomes))
    for name in names[:SHOWN]:
        known = f"{features[name]:.3f}" if name in features else "top"
        table.add_row(name, known, *(f"{outcome['shapley'][name]:+.3f}" for outcome in outcomes))
    if others := names[SHOWN:]:
        sums = (sum(outcome["shapley"][name] for name in others) for outcome in outcomes)
        table.add_row(f"{len(others)} others", "", *(f"{total:+.3f}" for total in sums))
    table.add_section()
    table.add_row("log-odds", "", *(f"{outcome['log_odds']:+.3f}" for outcome in outcomes))
    table.add_row("calibration", "", *(outcome["calibration"] for outcome in outcomes))
    table.add_row("its map here", "", *(calibration_line(outcome) for outcome in outcomes))
    table.add_row("calibrated", "", *(f"{_log_odds(outcome['probability']):+.3f}" for outcome in outcomes))
    table.add_row("probability", "", *(f"{outcome['probability']:.5f}" for outcome in outcomes))
    return table


def calibration_line(outcome: dict[str, Any]) -> str:
    """The line on which the log-odds lie: between two knots, or from the last one on; the whole map is in `explain`."""
    knots, slope = outcome["calibration_map"], outcome["calibration_slope"]
    if len(knots) == 1 and knots[0][0] == 0:
        return f"×{slope:.2f} {knots[0][1]:+.2f}"
    above = bisect([x for x, _ in knots], outcome["log_odds"])
    ends = [f"{x:+.2f} → {y:+.2f}" for x, y in knots[max(above - 1, 0) : above + 1]]
    return "\n".join(ends if 0 < above < len(knots) else [*ends, f"and ×{slope:.2f}"])


def _log_odds(probability: float) -> float:
    return log(probability / (1 - probability)) if 0 < probability < 1 else float("inf") * (probability - 0.5)
