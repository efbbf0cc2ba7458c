"""The model card: a Markdown page and two pictures, written for those who decide about a release."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from features.interactions import OUTCOMES
from features.ranking_metrics import Estimate
from features.registry import BY_NAME
from learning.evaluate import ModelEvaluation
from learning.examples import Examples
from online.rankers.models.model import Model
from online.rankers.models.shapley import shapley

IMPORTANCE_ROWS = 1000
"""Rows whose Shapley values are averaged: the mean of a thousand is steady to some 3%."""
SHOWN_INPUTS = 15


def importance(model: Model, examples: Examples, rows: int = IMPORTANCE_ROWS) -> dict[str, np.ndarray]:
    """Outcome → float64[k]: mean |Shapley value| of each input, in log-odds, over evenly spaced rows."""
    at = np.unique(np.linspace(0, len(examples) - 1, rows).astype(int))
    x = model.matrix({name: examples.column(name)[at] for name in model.features}, len(at))
    return {name: np.abs(why.values).mean(axis=0) for name, why in shapley(model, x).items()}


def write_card(
    folder: Path,
    model: Model,
    name: str,
    evaluation: ModelEvaluation,
    held_out: Examples,
    sampling: str,
    warnings: Sequence[str],
) -> Path:
    """`card.md`, `calibration.png` and `importance.png` in `folder`; returns the page.

    `sampling`: the rule by which negatives were chosen, in words; empty: every shown story is a row.
    """
    folder.mkdir(parents=True, exist_ok=True)
    matters = importance(model, held_out)
    _calibration_picture(evaluation).savefig(folder / "calibration.png")
    _importance_picture(model, matters).savefig(folder / "importance.png")
    sections = [
        f"# Model {name[:16]}\n\nSHA-256 `{name}`. Ranks by value: the weighted sum of four calibrated probabilities.",
        _warnings(model, warnings),
        _data(model, evaluation, sampling),
        _outcomes(model),
        "## Ranking on the held-out days\n\nBetter is higher; 95% bootstrap intervals over requests.\n\n"
        + _table(("ranking", *_measures(evaluation.systems)), evaluation.systems),
        "## Model minus baseline, on the same requests\n\n"
        + _table(("baseline", *_measures(evaluation.ahead)), evaluation.ahead),
        "## Probabilities on the held-out days\n\nWeights of sampled rows count. Each is evaluated at the position where its "
        "story stood. `base_log_loss` is that of always saying the rate. The interval of `ece` leans upwards, as resampling "
        "adds noise.\n\n"
        + _table(("outcome", *_measures(evaluation.outcomes)), evaluation.outcomes)
        + "\n\n![reliability of each outcome](calibration.png)",
        "## What matters\n\nMean size of the Shapley values in log-odds; position is 0 for every story.\n\n"
        "![importance of the inputs](importance.png)\n\n" + _features(model),
    ]
    page = folder / "card.md"
    page.write_text("\n\n".join(sections) + "\n")
    return page


def _warnings(model: Model, warnings: Sequence[str]) -> str:
    lines = [*warnings, *model.about.get("notes", [])]
    return "## Warnings\n\n" + ("\n".join(f"- {line}." for line in lines) if lines else "None.")


def _data(model: Model, evaluation: ModelEvaluation, sampling: str) -> str:
    about = model.about
    rows = [(part, f"{about['rows'][part]:,}", *(days or ("–", "–"))) for part, days in about["days"].items()]
    text = f"Evaluated on {evaluation.requests:,} requests with {evaluation.rows:,} rows."
    chosen = sampling or "Every row is a story that was shown; no negatives were sampled."
    return "## Data\n\n" + _markdown(("part", "rows", "from", "to"), rows) + f"\n\n{text}\n\nNegatives: {chosen}"


def _outcomes(model: Model) -> str:
    rows = []
    for outcome in OUTCOMES:
        about = model.about["outcomes"][outcome.name]
        how = f"constant {about['constant']:.5f}" if "constant" in about else _choice(about)
        rows.append((outcome.name, f"{model.weights[outcome.name]:g}", outcome.why, how, about["calibration"]))
    return "## Outcomes and their worth\n\n" + _markdown(("outcome", "weight", "because", "model", "calibration"), rows)


def _choice(about: dict[str, float]) -> str:
    return f"{about['trees']} trees of {about['leaves']} leaves (≥ {about['rows_a_leaf']} rows), rate {about['learning_rate']}"


def _measures(of: dict[str, dict[str, Estimate]]) -> tuple[str, ...]:
    return tuple(next(iter(of.values())))


def _table(header: tuple[str, ...], of: dict[str, dict[str, Estimate]]) -> str:
    return _markdown(header, [(name, *(e.text() for e in measures.values())) for name, measures in of.items()])


def _features(model: Model) -> str:
    rows = [(name, BY_NAME[name].meaning if name in BY_NAME else "where the story stood") for name in model.inputs]
    return "## Inputs\n\n" + _markdown(("input", "meaning"), rows)


def _markdown(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _calibration_picture(evaluation: ModelEvaluation) -> Figure:
    figure = Figure(figsize=(10, 3), layout="constrained")
    panes = figure.subplots(1, len(evaluation.reliability))
    for pane, (name, table) in zip(panes, evaluation.reliability.items(), strict=True):
        end = max(float(table[:, :2].max()), 1e-3) * 1.05
        pane.plot([0, end], [0, end], color="0.7", linewidth=1)
        pane.plot(table[:, 0], table[:, 1], "o-", markersize=3)
        pane.set(title=name, xlabel="predicted", xlim=(0, end), ylim=(0, end))
    panes[0].set_ylabel("observed")
    return figure


def _importance_picture(model: Model, matters: dict[str, np.ndarray]) -> Figure:
    figure = Figure(figsize=(8, 5), layout="constrained")
    pane = figure.subplots()
    total = np.sum(list(matters.values()), axis=0)
    top = np.argsort(total, kind="stable")[-SHOWN_INPUTS:]
    start = np.zeros(len(top))
    for name, values in matters.items():
        pane.barh([model.inputs[i] for i in top], values[top], left=start, label=name)
        start += values[top]
    pane.set_xlabel("mean |Shapley value|, log-odds, outcomes side by side")
    pane.legend()
    return figure
