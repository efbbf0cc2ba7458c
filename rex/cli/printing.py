"""Feeds, funnels, explanations of a score, snapshots and dead letters, for a user at a terminal."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable
from math import log
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from features.snapshot_reader import SnapshotAbout
from online.streams.dead_letters import DeadLetter

SHOWN = 10
"""Inputs listed one by one, those that add most to any outcome; the others are added up."""


def print_feed(console: Console, user_id: str, page: dict[str, Any], funnel: dict[str, Any]) -> None:
    """The page, the funnel under it and, when asked for, the path of one story."""
    console.print(_items(user_id, page))
    slate = page["slate"]
    console.print(
        f"snapshot {slate['snapshot']} · model {slate['model']} · {slate['candidates']:,} candidates · "
        f"{'from the cached slate' if slate['cached'] else 'ranked now'} · slate {slate['id']}",
        style="dim",
    )
    if page["degraded"]:
        console.print(f"answered without: {', '.join(page['degraded'])}", style="yellow")
    console.print(_stages(funnel))
    if "story" in funnel:
        console.print(_path(funnel["story"]))
        if (ranking := funnel["story"].get("ranking")) is not None:
            console.print(_value_table(ranking))
            console.print(_shapley_table(ranking, funnel["story"]["features"]))


def _items(user_id: str, page: dict[str, Any]) -> Table:
    table = Table(title=escape(f"Feed of {user_id}"), title_justify="left", expand=True)
    table.add_column("#", justify="right")
    table.add_column("story", ratio=5)
    table.add_column("reason", ratio=3)
    table.add_column("score", justify="right")
    table.add_column("sources", ratio=3, style="dim")
    for item in page["items"]:
        date = (item["published_at"] or "")[:16]
        byline = " · ".join(filter(None, (item["author_id"], item["publication_id"], date)))
        story = Text.assemble(item["title"] or item["story_id"], "\n", (byline, "dim"))
        table.add_row(
            str(item["position"] + 1), story, escape(item["reason"]), f"{item['score']:.3f}", " ".join(item["sources"])
        )
    return table


def _stages(funnel: dict[str, Any]) -> Table:
    table = Table(title="Funnel of a fresh ranking", title_justify="left")
    for name in ("stage", "in", "out", "ms"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    table.add_column("brought or dropped")
    for stage in funnel["stages"]:
        brought = [f"{name} {n:,}" for name, n in stage["parts"].items() if n]
        dropped = [f"−{n:,} {name}" for name, n in stage["dropped"].items()]
        counts = (f"{stage['in']:,}", f"{stage['out']:,}", f"{stage['ms']:.2f}")
        table.add_row(stage["stage"], *counts, ", ".join(brought + dropped))
    total = sum(stage["ms"] for stage in funnel["stages"])
    table.add_section()
    table.add_row("all", "", "", f"{total:.2f}", "")
    return table


def _path(story: dict[str, Any]) -> Table:
    table = Table(title=escape(f"Story {story['story_id']}"), title_justify="left", show_header=False)
    if not story["known"]:
        table.add_row("the snapshot does not know it")
        return table
    table.add_row("brought by", ", ".join(story["sources"]) or "no provider")
    if "dropped_by" in story:
        table.add_row("dropped by", story["dropped_by"])
    if "rank" in story:
        table.add_row("ranked", f"{story['rank'] + 1:,}. by score")
    for step, position in story["positions"].items():
        if step not in ("aggregate", "annotate"):  # before ranking, candidates have no order
            table.add_row(f"after {step}", "not among them" if position is None else f"{position + 1:,}.")
    for move in story.get("moves", ()):
        to = "left out" if move["to"] is None else f"{move['to'] + 1:,}."
        table.add_row(f"moved by {move['step']}", f"{move['from'] + 1:,}. → {to}  ({move['reason'].replace('_', ' ')})")
    listed = {} if "ranking" in story else story.get("contributions", {})  # of outcomes, in a table of their own
    for name, value in sorted(listed.items(), key=lambda item: -abs(item[1])):
        table.add_row(name, f"{value:+.4f}  (feature {story['features'][name]:.4f})")
    if "score" in story:
        table.add_row("score", f"{story['score']:.4f}")
    return table


def _value_table(ranking: dict[str, Any]) -> Table:
    """What each outcome adds to the value that the learned ranker ranks by."""
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


def _shapley_table(ranking: dict[str, Any], features: dict[str, float]) -> Table:
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


def snapshots_table(found: Iterable[SnapshotAbout]) -> Table:
    """One row a snapshot, newest first."""
    table = Table(title="Snapshots", title_justify="left")
    for name in ("version", "as of", "age", "stories", "users", "MB", ""):
        table.add_column(name, no_wrap=name in ("version", "as of"))  # to be copied into other commands
    for about in found:
        table.add_row(
            about.version,
            about.as_of[:16],
            f"{about.age_s / 3600:.1f} h",
            f"{about.counts.get('stories', 0):,}",
            f"{about.counts.get('users', 0):,}",
            f"{about.size_bytes / 1e6:.1f}",
            "current" if about.current else "",
        )
    return table


def dead_letters_table(found: Iterable[DeadLetter]) -> Table:
    """One row an entry that was set aside, oldest first; what it held is in the stream of dead letters."""
    table = Table(title="Dead letters", title_justify="left")
    for name in ("failed at", "stream", "entry", "why"):
        table.add_column(name, no_wrap=name == "entry")
    for entry in found:
        table.add_row(f"{entry.failed_at:%Y-%m-%d %H:%M:%S}", escape(entry.stream), entry.entry_id, escape(entry.error))
    return table
