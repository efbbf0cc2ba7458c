"""A small random lake with everything that makes point-in-time hard: late events, versions, undone edges, conflicts."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from batch.settings import BatchSettings
from tests.lakes import NOON, ago, story, write_lake

SETTINGS = BatchSettings(als_rank=4, als_iterations=2, driver_memory="1g")
"""Small vectors: the order of sums is what is tested, not what is learnt."""
USERS, STORIES, EVENTS, EDGES, DAYS = 40, 60, 1500, 200, 20
TYPES = ("impression", "open", "read", "clap", "save", "share", "hide", "report")


def write_small_world(lake: Path, known_by: datetime | None = None, seed: int = 3) -> Path:
    """The lake as someone would have found it at `known_by`: without the rows that came later (None: all)."""
    limit = known_by or NOON + timedelta(days=400)
    rng = np.random.default_rng(seed)
    datasets = {"stories": _stories(rng), "users": _users(rng), "edges": _edges(rng), "events": _events(rng)}
    known = {"stories": "updated_at", "users": "updated_at", "edges": "occurred_at", "events": "received_at"}
    found = {name: [r for r in rows if r[known[name]] <= limit] for name, rows in datasets.items()}
    return write_lake(lake, promotions=_promotions(), **found)


def _when(rng: np.random.Generator) -> datetime:
    return ago(days=float(rng.uniform(-2, DAYS)))  # a tenth of it after NOON


def _stories(rng: np.random.Generator) -> list[dict[str, Any]]:
    rows = []
    for number in range(STORIES):
        published = _when(rng)
        topics: list[str | None] = [f"t{t}" for t in rng.choice(6, size=rng.integers(0, 4), replace=False)]
        topics += [None, " "] if number % 5 == 0 else []  # as tools write a list with gaps
        more = {
            "author_id": f"u{number % 9}",
            "publication_id": f"p{number % 3}" if number % 2 else None,
            "topics": topics,
        }
        row = story(
            f"s{number}",
            published,
            updated_at=published,
            language=("en", "de", None)[number % 3],
            title=f"T {number}",
            deleted_at=None,
            **more,
        )
        rows.append(row)
        if number % 4 == 0:  # edited, moved to another author
            rows.append({**row, "updated_at": published + timedelta(days=3), "author_id": "u10"})
        if number % 7 == 0:  # withdrawn
            gone = published + timedelta(days=4)
            rows.append({**row, "updated_at": gone, "deleted_at": gone})
    return rows


def _promotions() -> list[dict[str, Any]]:
    """Over, running and to come at NOON; a promotion does not say when it was booked, so all are known at any time."""
    weeks = {"over": 3, "running": 1, "to come": -1}
    return [
        {"promotion_id": f"p {when}", "story_id": f"s{number}", "priority": number, "daily_cap_per_user": None}
        | {"starts_at": ago(days=7 * week), "ends_at": ago(days=7 * week - 14)}
        for number, (when, week) in enumerate(weeks.items())
    ]


def _users(rng: np.random.Generator) -> list[dict[str, Any]]:
    rows = []
    for number in range(0, USERS, 2):  # the others are known from their events alone
        made = _when(rng)
        row = {"user_id": f"u{number}", "created_at": made, "updated_at": made, "languages": ["en"], "is_member": False}
        rows += [row, {**row, "updated_at": made + timedelta(days=2), "is_member": True}]
    return rows


def _edges(rng: np.random.Generator) -> list[dict[str, Any]]:
    targets = [("author", "u{}"), ("publication", "p{}"), ("topic", "t{}")]
    rows = []
    for number in range(EDGES):
        kind, (target, ids) = ("follow", "mute", "block")[rng.integers(3)], targets[rng.integers(3)]
        rows.append(
            {
                "event_id": f"edge{number}",
                "user_id": f"u{rng.integers(8)}",  # few users, so that many edges are undone again
                "kind": kind,
                "target_type": target,
                "target_id": ids.format(rng.integers(3)),
                "op": ("add", "remove")[int(rng.random() < 0.4)],
                "occurred_at": _when(rng),
            }
        )
    return rows


def _events(rng: np.random.Generator) -> list[dict[str, Any]]:
    rows = []
    for number in range(EVENTS):
        at = _when(rng)
        late = timedelta(days=float(rng.exponential(1.0)) if rng.random() < 0.2 else 0.0)
        kind = TYPES[rng.choice(8, p=(0.5, 0.2, 0.15, 0.05, 0.03, 0.03, 0.03, 0.01))]
        rows.append(
            {
                "event_id": f"e{number}" if number % 5 else None,
                "user_id": f"u{rng.integers(USERS)}",
                "story_id": f"s{min(int(rng.exponential(12)), STORIES - 1)}",  # some stories are much read
                "type": kind,
                "occurred_at": at,
                "received_at": at + late,
                "claps": int(rng.integers(1, 50)) if kind == "clap" else None,
            }
        )
    conflicting = {**rows[1], "type": "share", "occurred_at": ago(days=2), "received_at": ago(days=2)}
    first = {
        **rows[1],
        "event_id": "conflict",
        "story_id": "s0",
        "occurred_at": ago(days=9),
        "received_at": ago(days=9),
    }
    return [*rows, first, {**conflicting, "event_id": "conflict", "story_id": "s0"}, rows[2]]
