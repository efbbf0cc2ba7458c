"""Builds snapshot tables by hand: each story is a dict of what matters to the test, the rest has plain values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from batch.snapshot_content import Content
from batch.snapshot_users import Ragged, Users
from features.choices import ENDED, HELD
from features.keys import hash64
from features.languages import language_codes
from features.raw_datasets import VISIBILITIES
from features.registry import BY_NAME, registered
from features.snapshot import (
    ABSENT,
    FORMER_KEYS_SCHEMA,
    NO_CAP,
    PROFILE,
    PROMOTIONS_SCHEMA,
    SIMILAR_KEPT,
    TARGETS_SCHEMA,
    TOP_SCHEMA,
    Manifest,
    names_schema,
    schema_hash,
    stories_schema,
)
from features.times import UNDATED, micros
from online.columns import Candidates
from online.components import default_components
from online.context import Context, Trace
from online.rankers.protocol import Ranker
from online.rankers.weighted import Weighted
from online.service_settings import OnlineSettings
from online.story_table.build import build_story_table
from online.story_table.table import StoryTable
from online.user.build_inputs import BuildInputs
from online.user.user import EMPTY_PROFILE, User, UserState

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
FACTORS = 2


def hours_ago(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


def tables(
    stories: list[dict[str, Any]],
    top: list[tuple[str | None, str]] = (),
    promotions: list[dict[str, Any]] = (),
    targets: list[str] = (),
    former_keys: dict[str, int] | None = None,
) -> dict[str, pa.Table]:
    """Snapshot tables; a story names its author, publication, topics, language by id; `age_h` dates it, None: it is undated."""
    stories = sorted(stories, key=lambda s: (_dated(s), s["id"]))
    names = {
        "authors": _distinct(s.get("author", "a-someone") for s in stories),
        "publications": _distinct(s.get("publication") for s in stories),
        "topics": _distinct(t for s in stories for t in s.get("topics", ())),
        "languages": _distinct(s.get("language") for s in stories),
    }
    at = {name: {ident: i for i, ident in enumerate(ids)} for name, ids in names.items()}
    row = {s["id"]: i for i, s in enumerate(stories)}
    columns: dict[str, Any] = {
        "story_id": [s["id"] for s in stories],
        "story_hash": [hash64(s["id"]) for s in stories],
        "author": [at["authors"].get(s.get("author", "a-someone"), ABSENT) for s in stories],
        "publication": [at["publications"].get(s.get("publication"), ABSENT) for s in stories],
        "topics": [[at["topics"][t] for t in s.get("topics", ())] for s in stories],
        "language": [at["languages"].get(s.get("language"), ABSENT) for s in stories],
        "title": [s.get("title") for s in stories],
        "published_at": [_dated(s) for s in stories],
        "updated_at": [micros(hours_ago(s.get("updated_h", s.get("age_h", 1.0) or 0.0))) for s in stories],
        "reading_time_s": [s.get("reading_time_s", float("nan")) for s in stories],
        "visibility": [VISIBILITIES.index(s.get("visibility", "public")) for s in stories],
        "members_only": [s.get("members_only", False) for s in stories],
        "duplicate_key": [s.get("duplicate_key", hash64(s["id"])) for s in stories],
        "vector": [s.get("vector", [0.0] * FACTORS) for s in stories],
        "similar": [_neighbours(s, row) for s in stories],
        "similarity": [_similarities(s) for s in stories],
    }
    for feature in registered("story"):
        columns[feature.name] = [s.get(feature.name, feature.default) for s in stories]
    out = {"stories": pa.table(columns, schema=stories_schema(FACTORS))}
    for table, entity in (
        ("authors", "author"),
        ("publications", "publication"),
        ("topics", "topic"),
        ("languages", "language"),
    ):
        ids = names[table]
        features = {f.name: [f.default] * len(ids) for f in registered(entity)}
        out[table] = pa.table({"id": ids, "hash": [hash64(i) for i in ids], **features}, schema=names_schema(entity))
    heat = list(range(len(top), 0, -1))
    out["top"] = pa.table(
        {
            "language": [at["languages"].get(lang, ABSENT) for lang, _ in top],
            "row": [row[s] for _, s in top],
            "heat": heat,
        },
        schema=TOP_SCHEMA,
    )
    out["promotions"] = _promotions(promotions, row)
    out["targets"] = _targets(targets)
    former = sorted((hash64(ident), key) for ident, key in (former_keys or {}).items())
    out["former_keys"] = pa.table([[h for h, _ in former], [key for _, key in former]], schema=FORMER_KEYS_SCHEMA)
    return out


def _dated(story: dict[str, Any]) -> int:
    age_h = story.get("age_h", 1.0)
    return UNDATED if age_h is None else micros(hours_ago(age_h))


def _promotions(promotions: list[dict[str, Any]], row: dict[str, int]) -> pa.Table:
    """Each with `id` and `story`; it began an hour ago and ends in an hour, without a cap, unless given."""
    found = sorted(promotions, key=lambda p: (-p.get("priority", 0), p["id"]))
    columns = {
        "promotion_id": [p["id"] for p in found],
        "hash": [hash64(p["id"]) for p in found],
        "row": [row[p["story"]] for p in found],
        "starts_at": [micros(hours_ago(p.get("started_h", 1.0))) for p in found],
        "ends_at": [micros(hours_ago(-p.get("ends_in_h", 1.0))) for p in found],
        "priority": [p.get("priority", 0) for p in found],
        "daily_cap": [p.get("daily_cap", NO_CAP) for p in found],
    }
    return pa.table(columns, schema=PROMOTIONS_SCHEMA)


def _targets(ids: list[str]) -> pa.Table:
    found = sorted((hash64(ident), ident) for ident in ids)
    return pa.table([[h for h, _ in found], [ident for _, ident in found]], schema=TARGETS_SCHEMA)


def _distinct(ids: Any) -> list[str]:
    return sorted({ident for ident in ids if ident is not None})


def _neighbours(story: dict[str, Any], row: dict[str, int]) -> list[int]:
    found = [row[other] for other, _ in story.get("similar", ())]
    return found + [ABSENT] * (SIMILAR_KEPT - len(found))


def _similarities(story: dict[str, Any]) -> list[float]:
    found = [similarity for _, similarity in story.get("similar", ())]
    return found + [0.0] * (SIMILAR_KEPT - len(found))


def manifest(of: dict[str, pa.Table], version: str = "20260131T000000Z-1", users: tuple[str, ...] = ("",)) -> Manifest:
    return Manifest(
        version=version,
        as_of="2026-01-31T00:00:00Z",
        built_at="2026-01-31T00:01:00Z",
        schema_hash=schema_hash(FACTORS),
        factors=FACTORS,
        positions={},
        counts={name: table.num_rows for name, table in of.items()},
        tables={},
        users=list(users),
        size_bytes=0,
    )


def content(stories: list[dict[str, Any]], users: dict[str, dict[str, Any]], as_of: datetime, **more: Any) -> Content:
    """What a publisher would have read from a feature lake with these stories and these users' profiles."""
    encoded = [profile(**known) for known in users.values()]
    fields = {
        name: Ragged(
            np.concatenate([p[name] for p in encoded]) if encoded else np.empty(0, dtype),
            np.cumsum([0, *(len(p[name]) for p in encoded)]),
        )
        for name, dtype in PROFILE.fields
    }
    hashes = np.array([hash64(user_id) for user_id in users], np.int64)
    made = tables(
        stories, more.pop("top", ()), more.pop("promotions", ()), more.pop("targets", ()), more.pop("former_keys", None)
    )
    return Content(
        as_of, more.pop("positions", {}), FACTORS, made, Users(hashes, fields), model=more.pop("model", None)
    )


def story_table(
    stories: list[dict[str, Any]],
    top: list[tuple[str | None, str]] = (),
    promotions: list[dict[str, Any]] = (),
) -> StoryTable:
    made = tables(stories, top, promotions)
    return build_story_table(manifest(made), made)


def profile(**of: Any) -> dict[str, np.ndarray]:
    """A decoded profile: languages are coded, ids are hashed, everything else is taken as it is."""
    arrays = {}
    for name, values in of.items():
        if name == "languages":
            arrays[name] = language_codes(values)
            continue
        hashed = len(values) and isinstance(values[0], str)
        arrays[name] = np.array([hash64(v) for v in values] if hashed else values)
    for name in (*HELD.values(), *ENDED.values()):  # changed at the first moment, so that any change is later
        arrays.setdefault(f"{name}_at", np.zeros(len(arrays.get(name, ())), np.int64))
    return PROFILE.decode(PROFILE.encode(arrays)) if arrays else dict(EMPTY_PROFILE)


def context(
    of: StoryTable,
    user_id: str = "u-reader",
    settings: OnlineSettings | None = None,
    ranker: Ranker | None = None,
    **known: Any,
) -> Context:
    """A request of a user with the given profile (and `changes`, `interactions` since the snapshot)."""
    changes, interactions, reading = (
        known.pop("changes", ()),
        known.pop("interactions", None),
        known.pop("build_inputs", BuildInputs()),
    )
    state = UserState(user_id, hash64(user_id), profile(**known), tuple(changes))
    if interactions is not None:
        state = UserState(user_id, hash64(user_id), profile(**known), tuple(changes), interactions)
    return Context(
        of,
        User(state, of),
        micros(NOW),
        settings or OnlineSettings(),
        ranker or Weighted(),
        wanted=frozenset(BY_NAME),
        build_inputs=reading,
        sources=default_components().providers,
        trace=Trace(strict=(settings or OnlineSettings()).strict),
    )


def everything(of: StoryTable) -> Candidates:
    return Candidates(np.arange(len(of), dtype=np.int32), np.ones(len(of), np.uint32), whole=True)


def ids(of: StoryTable, candidates: Candidates) -> list[str]:
    return [of.story_id(int(row)) for row in candidates.rows]
