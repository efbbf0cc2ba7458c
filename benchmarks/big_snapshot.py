"""A snapshot as large as the ones the design is for, published through the ordinary code, and a model as large as training makes one.

Both are drawn with NumPy: what is measured with them is time, not relevance.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import numpy as np
import pyarrow as pa
import redis
from numpy.typing import NDArray
from rich.progress import Progress

from batch.publish import publish_content
from batch.snapshot_content import Content
from batch.snapshot_tables import fixed_lists
from batch.snapshot_users import AFFINITIES, Ragged, Users
from features.arrays import F32, I32
from features.keys import Keys, hash64_many
from features.packing import name_of
from features.registry import registered
from features.snapshot import (
    ABSENT,
    FORMER_KEYS_SCHEMA,
    PROMOTIONS_SCHEMA,
    SIMILAR_KEPT,
    TARGETS_SCHEMA,
    TOP_SCHEMA,
    Manifest,
    names_schema,
    stories_schema,
)
from learning.examples import FEATURE_NAMES
from online.rankers.models.model import IDENTITY, POSITION, Model, OutcomeModel
from online.rankers.models.model_file import decode, encode
from online.rankers.models.outcomes import NAMES, WEIGHTS
from online.rankers.models.trees import LEAF, Forest

AS_OF = datetime(2026, 1, 31, tzinfo=UTC)
DAYS = 60
"""Stories are spread over this many days before AS_OF."""
AUTHORS, PUBLICATIONS, TOPICS = 4000, 200, 300
LANGUAGES = {"de": 0.06, "en": 0.70, "es": 0.12, "fr": 0.07, "pt": 0.05}
"""Language → share of the stories; sorted, as a snapshot's language table is."""
TOPICS_A_STORY = 3
FACTORS = 32
READS, FOLLOWED_AUTHORS, FOLLOWED_PUBLICATIONS, FOLLOWED_TOPICS, AFFINE = 300, 40, 5, 8, 50
"""What a busy user has; everyone here is one, so that no measurement is flattered by newcomers."""
TREES, DEPTH = 120, 5
"""The most that training makes: 120 trees of 32 leaves for each outcome."""


def publish_big(
    client: redis.Redis,
    keys: Keys,
    stories: int = 500_000,
    users: int = 1_000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Manifest:
    """Publish `big_content`; users are `user-0` …, stories `story-0` …, the oldest first."""
    build = partial(big_content, stories, users, seed)
    return publish_content(build, client, keys, now=AS_OF, kept=1, lease_ttl_s=60, progress=progress)


def big_content(stories: int, users: int, seed: int) -> Content:
    """Deterministic in its arguments."""
    rng = np.random.default_rng(seed)
    sizes = {"author": AUTHORS, "publication": PUBLICATIONS, "topic": TOPICS}
    tables = {f"{entity}s": _names(rng, entity, _ids(entity, n)) for entity, n in sizes.items()}
    tables["languages"] = _names(rng, "language", list(LANGUAGES))
    tables["stories"] = _stories(rng, stories)
    tables["top"] = _top(rng, tables["stories"])
    tables["promotions"] = PROMOTIONS_SCHEMA.empty_table()
    tables["targets"], tables["former_keys"] = TARGETS_SCHEMA.empty_table(), FORMER_KEYS_SCHEMA.empty_table()
    return Content(AS_OF, {}, FACTORS, tables, _users(rng, users, tables))


def _ids(entity: str, n: int) -> list[str]:
    """`author-00001` …: padded, so that their order is that of their numbers, as in a real table."""
    return [f"{entity}-{i:06d}" for i in range(n)]


def _skewed(rng: np.random.Generator, n: int, size: int | tuple[int, ...]) -> I32:
    """Indices below n, popular ones low: density falls with the square root, as with authors and topics of real feeds."""
    return (n * rng.random(size) ** 2).astype(np.int32)


def _feature_columns(rng: np.random.Generator, entity: str, n: int) -> dict[str, F32]:
    """Rates as beta draws around their usual size, counts as logarithms of a long tail."""
    return {
        f.name: (rng.beta(2, 10, n) if f.name.endswith("_rate") else np.log1p(rng.pareto(1.2, n))).astype(np.float32)
        for f in registered(entity)
    }


def _names(rng: np.random.Generator, entity: str, ids: list[str]) -> pa.Table:
    columns = {"id": ids, "hash": hash64_many(ids), **_feature_columns(rng, entity, len(ids))}
    return pa.table(columns, schema=names_schema(entity))


def _stories(rng: np.random.Generator, n: int) -> pa.Table:
    ids = [f"story-{i}" for i in range(n)]
    hashes = hash64_many(ids)
    end_us = int(AS_OF.timestamp() * 1e6)
    ages_us = (rng.random(n) * DAYS * timedelta(days=1).total_seconds() * 1e6).astype(np.int64)
    topics = pa.array(_skewed(rng, TOPICS, n * TOPICS_A_STORY))
    vectors = rng.normal(0, 1 / np.sqrt(FACTORS), (n, FACTORS)).astype(np.float32)
    columns = {
        "story_id": ids,
        "story_hash": hashes,
        "author": _skewed(rng, AUTHORS, n),
        "publication": np.where(rng.random(n) < 0.5, _skewed(rng, PUBLICATIONS, n), ABSENT).astype(np.int32),
        "topics": pa.ListArray.from_arrays(np.arange(0, len(topics) + 1, TOPICS_A_STORY, dtype=np.int32), topics),
        "language": rng.choice(len(LANGUAGES), n, p=list(LANGUAGES.values())).astype(np.int32),
        "title": [f"What story {i} is about, in a title of usual length" for i in range(n)],
        "published_at": (published := np.sort(end_us - ages_us)),
        "updated_at": published,
        "reading_time_s": rng.lognormal(5.5, 0.6, n).astype(np.float32),
        "visibility": (rng.random(n) < 0.05).astype(np.int8),
        "members_only": rng.random(n) < 0.3,
        "duplicate_key": np.where(rng.random(n) < 0.02, np.roll(hashes, 1), hashes),
        **_feature_columns(rng, "story", n),
        "vector": fixed_lists(vectors),
        "similar": fixed_lists(_skewed(rng, n, (n, SIMILAR_KEPT))),
        "similarity": fixed_lists(-np.sort(-rng.random((n, SIMILAR_KEPT), np.float32), axis=1)),
    }
    return pa.table(columns, schema=stories_schema(FACTORS))


def _top(rng: np.random.Generator, stories: pa.Table, kept: int = 500) -> pa.Table:
    """The `kept` hottest of all and of each language, by a heat drawn for the purpose."""
    heat = rng.pareto(1.2, len(stories)).astype(np.float32)
    hottest = np.argsort(-heat, kind="stable").astype(np.int32)
    language = stories["language"].to_numpy()[hottest]
    groups = [(ABSENT, hottest)] + [(number, hottest[language == number]) for number in range(len(LANGUAGES))]
    rows = np.concatenate([rows[:kept] for _, rows in groups])
    languages = np.repeat(np.array([g for g, _ in groups], np.int32), [min(kept, len(rows)) for _, rows in groups])
    return pa.table([languages, rows, heat[rows]], schema=TOP_SCHEMA)


def _users(rng: np.random.Generator, n: int, tables: dict[str, pa.Table]) -> Users:
    hashes = {name: tables[f"{name}s"]["hash"].to_numpy() for name in AFFINITIES}
    stories = tables["stories"]["story_hash"].to_numpy()
    followed = {"author": FOLLOWED_AUTHORS, "publication": FOLLOWED_PUBLICATIONS, "topic": FOLLOWED_TOPICS}
    fields = {
        "is_member": _each(np.ones((n, 1), np.uint8)),
        "vector": _each(rng.normal(0, 1, (n, FACTORS)).astype(np.float32)),
        # Newest first, from the last rows of the table, the way users read.
        "read": _each(stories[len(stories) - 1 - _skewed(rng, len(stories), (n, READS))]),
        "read_at": _each(int(AS_OF.timestamp() * 1e6) - np.tile(np.arange(READS) * 3_600_000_000, (n, 1))),
    }
    for name, known in hashes.items():
        fields[f"follow_{name}"] = _each(known[_skewed(rng, len(known), (n, followed[name]))])
        fields[f"follow_{name}_at"] = _each(np.full((n, followed[name]), int(AS_OF.timestamp() * 1e6)))
        fields[f"{name}_affinity_ids"] = _each(known[_skewed(rng, len(known), (n, AFFINE))])
        for column in AFFINITIES[name]:
            drawn = rng.uniform(-0.2, 0.9, (n, AFFINE)) if column == "affinity" else rng.pareto(1.2, (n, AFFINE))
            fields[f"{name}_{column}"] = _each(drawn.astype(np.float32))
    return Users(hash64_many([f"user-{i}" for i in range(n)]), fields)


def _each(rows: NDArray[np.generic]) -> Ragged:
    """One row a user: [n, k]."""
    return Ragged(rows.ravel(), np.arange(len(rows) + 1, dtype=np.int64) * rows.shape[1])


def drawn_model(seed: int = 0) -> Model:
    """Warm, as a serving process holds it. Deterministic."""
    rng = np.random.default_rng(seed)
    outcomes = tuple(OutcomeModel(name, _forest(rng), IDENTITY) for name in NAMES)
    data = encode(Model((POSITION, *FEATURE_NAMES), outcomes, WEIGHTS))
    return decode(data, name_of(data))


def _forest(rng: np.random.Generator) -> Forest:
    """Complete trees, by level: the children of node i are 2 i + 1 and 2 i + 2."""
    inner, nodes = 2**DEPTH - 1, 2 ** (DEPTH + 1) - 1
    m, at = TREES * nodes, np.arange(TREES * nodes)
    is_inner = at % nodes < inner
    return Forest(
        baseline=-2.0,
        roots=np.arange(0, m, nodes, dtype=np.int32),
        feature=np.where(is_inner, rng.integers(1, 1 + len(FEATURE_NAMES), m), LEAF).astype(np.int32),
        threshold=rng.random(m),
        missing_left=np.ones(m, np.uint8),
        left=np.where(is_inner, at - at % nodes + 2 * (at % nodes) + 1, at).astype(np.int32),
        value=np.where(is_inner, 0.0, rng.normal(0, 0.05, m)),
        cover=np.ones(m),
    )
