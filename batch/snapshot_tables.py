"""The tables of a snapshot, from the feature views of one `as_of`. Joins in DuckDB, the rest in Arrow."""

from __future__ import annotations

from datetime import datetime

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.arrays import F32, I32
from features.errors import BadInput
from features.formulas import NEWCOMER_RATES
from features.keys import hash64_many
from features.raw_datasets import EDGE_KINDS, TARGET_TYPES, VISIBILITIES
from features.registry import registered
from features.snapshot import (
    ABSENT,
    FORMER_KEYS_SCHEMA,
    NO_CAP,
    PROMOTIONS_SCHEMA,
    SIMILAR_KEPT,
    TARGETS_SCHEMA,
    TOP_SCHEMA,
    names_schema,
    stories_schema,
)
from features.times import UNDATED

_SINCE = "coalesce(updated_at, published_at, received_at)"
"""When a version of a story came to be; of undated ones, when it was received."""

_LIVE = """
CREATE TEMP TABLE live AS
SELECT (row_number() OVER (ORDER BY published_at NULLS FIRST, story_id) - 1)::INTEGER AS row, *
FROM valid_stories WHERE (valid_until IS NULL OR valid_until > $as_of) AND (deleted_at IS NULL OR deleted_at > $as_of)
"""
"""The version in force, unless it is withdrawn. Stories scheduled for later are there, too: nothing would tell a server of them when
their time comes, and its rules keep them back until then."""

MAX_FORMER_KEYS = 1_000_000
"""The latest ones; 16 MB in every process."""

_SIMILAR = f"""
SELECT of.row, (row_number() OVER (PARTITION BY of.row ORDER BY s.rank) - 1)::INTEGER AS slot,
       other.row AS similar, s.similarity
FROM similar_stories s
JOIN live of ON of.story_id = s.story_id JOIN live other ON other.story_id = s.similar_story_id
QUALIFY slot < {SIMILAR_KEPT} ORDER BY of.row, slot
"""

_FORMER_KEYS = f"""
SELECT hash, key FROM (
    SELECT v.story_hash AS hash, v.duplicate_key AS key, max(v.since) AS dated
    FROM (SELECT *, {_SINCE} AS since FROM valid_stories) v LEFT JOIN live USING (story_id)
    WHERE v.duplicate_key IS DISTINCT FROM live.duplicate_key
    GROUP BY ALL ORDER BY dated DESC, hash, key LIMIT {MAX_FORMER_KEYS}
) ORDER BY hash, key
"""

_TOP = """
SELECT t.language, live.row, t.heat::REAL AS heat
FROM top_stories t JOIN live USING (story_id) ORDER BY t.language, t.rank
"""


def read_tables(connection: duckdb.DuckDBPyConnection, as_of: datetime) -> tuple[dict[str, pa.Table], int]:
    """Every table of `features.snapshot.TABLES` but the promotions and the targets, and the length of the ALS vectors.

    BadInput when two stories share one hash, or vectors differ in length.
    """
    connection.execute(_LIVE, {"as_of": as_of})
    refuse_collisions("stories", connection.sql("SELECT story_id AS id, story_hash AS hash FROM live").to_arrow_table())
    tables = {f"{entity}s": _names(connection, entity) for entity in ("author", "publication", "topic")}
    tables["languages"] = _languages(connection)
    factors = _factors(connection)
    tables["stories"] = _stories(connection, tables, factors)
    tables["top"] = _top(connection, tables["languages"])
    former = connection.sql(_FORMER_KEYS).to_arrow_table()
    tables["former_keys"] = former.cast(FORMER_KEYS_SCHEMA)
    return tables, factors


def refuse_collisions(what: str, ids: pa.Table) -> None:
    """BadInput naming both ids when two of `ids` (id, hash) share a hash."""
    twice = ids.group_by("hash").aggregate([("id", "count"), ("id", "min"), ("id", "max")])
    twice = twice.filter(pc.greater(twice["id_count"], 1))
    if twice.num_rows:
        first, second = twice["id_min"][0].as_py(), twice["id_max"][0].as_py()
        raise BadInput(f"The {what} {first!r} and {second!r} have the same 64-bit hash; rename one of them.")


def indices(ids: pa.ChunkedArray | pa.Array, names: pa.Table) -> I32:
    """Row in `names` of each id, ABSENT for null: string[n] → int32[n]."""
    found = pc.index_in(ids, value_set=names["id"].combine_chunks(), skip_nulls=True)
    return np.asarray(found.fill_null(ABSENT), dtype=np.int32)


def _names(connection: duckdb.DuckDBPyConnection, entity: str) -> pa.Table:
    """Ids that live stories or feature rows name, sorted, with the entity's features."""
    of_stories = "unnest(topics)" if entity == "topic" else f"{entity}_id"
    query = f"""
        WITH ids AS (SELECT {of_stories} AS id FROM live UNION SELECT {entity}_id FROM {entity}_features)
        SELECT id, {_features(entity)} FROM ids LEFT JOIN {entity}_features f ON f.{entity}_id = id
        WHERE id IS NOT NULL ORDER BY id
    """
    return _hashed(connection.sql(query).to_arrow_table(), entity)


def _languages(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """As `_names`; trending stories name languages, too, and `*` is none."""
    query = f"""
        WITH ids AS (
            SELECT language AS id FROM live UNION SELECT language FROM top_stories
            UNION SELECT language FROM language_features
        )
        SELECT id, {_features("language")} FROM ids LEFT JOIN language_features f ON f.language = id
        WHERE id IS NOT NULL AND id <> '*' ORDER BY id
    """
    return _hashed(connection.sql(query).to_arrow_table(), "language")


def _features(entity: str) -> str:
    """SQL columns: the entity's features. Where the batch has written none: of a story its author's rates (of `a`), else the defaults."""
    return ", ".join(
        f"coalesce(f.{f.name}, {f'a.{of_author}, ' if (of_author := NEWCOMER_RATES.get(f.name)) else ''}{f.default})::REAL AS {f.name}"
        for f in registered(entity)
    )


def _hashed(table: pa.Table, entity: str) -> pa.Table:
    hashes = pa.array(hash64_many(table["id"].to_pylist()))
    hashed = table.add_column(1, "hash", hashes).cast(names_schema(entity))
    refuse_collisions(f"{entity}s", hashed)
    return hashed


def _factors(connection: duckdb.DuckDBPyConnection) -> int:
    lengths = connection.sql("SELECT DISTINCT len(vector) FROM als_vectors ORDER BY 1").fetchall()
    if len(lengths) > 1:
        raise BadInput(f"als_vectors holds vectors of {len(lengths)} lengths; run `rex batch --job als_vectors` again.")
    return int(lengths[0][0]) if lengths else 0


def _stories(connection: duckdb.DuckDBPyConnection, tables: dict[str, pa.Table], factors: int) -> pa.Table:
    live = connection.sql(f"""
        SELECT live.* REPLACE (
            coalesce(epoch_us(published_at), {UNDATED}) AS published_at,
            epoch_us({_SINCE}) AS updated_at,
            coalesce(reading_time_s, 'NaN')::REAL AS reading_time_s,
            coalesce(members_only, false) AS members_only,
            coalesce(list_filter(topics, lambda topic: topic IS NOT NULL), []) AS topics
        ), {_features("story")}
        FROM live LEFT JOIN story_features f USING (story_id) LEFT JOIN author_features a USING (author_id) ORDER BY row
    """).to_arrow_table()
    columns = {name: live[name].combine_chunks() for name in live.column_names}
    columns["author"] = indices(columns["author_id"], tables["authors"])
    columns["publication"] = indices(columns["publication_id"], tables["publications"])
    columns["language"] = indices(columns["language"], tables["languages"])
    topics = columns["topics"]
    columns["topics"] = pa.ListArray.from_arrays(topics.offsets, indices(topics.values, tables["topics"]))
    visibility = pc.index_in(columns["visibility"].fill_null("public"), value_set=pa.array(VISIBILITIES))
    columns["visibility"] = visibility.cast(pa.int8())
    columns["vector"] = fixed_lists(_vectors(connection, live.num_rows, factors))
    similar, similarity = _similar(connection, live.num_rows)
    columns["similar"], columns["similarity"] = fixed_lists(similar), fixed_lists(similarity)
    schema = stories_schema(factors)
    return pa.table([columns[name] for name in schema.names], names=schema.names).cast(schema)


def fixed_lists(values: F32 | I32) -> pa.Array:
    """One fixed-size list per row: [n, k] → fixed_size_list[k] of n. k may be 0."""
    flat = pa.array(values.ravel())
    return pa.Array.from_buffers(pa.list_(flat.type, values.shape[1]), len(values), [None], children=[flat])


def _vectors(connection: duckdb.DuckDBPyConnection, rows: int, factors: int) -> F32:
    """float32[rows, factors]; zeros for a story without a vector."""
    known = connection.sql("""
        SELECT live.row, vector FROM als_vectors v JOIN live ON live.story_id = v.id
        WHERE v.entity = 'story' ORDER BY live.row
    """).to_arrow_table()
    vectors = np.zeros((rows, factors), np.float32)
    flat = known["vector"].combine_chunks().flatten()
    vectors[known["row"].to_numpy()] = flat.to_numpy(zero_copy_only=False).reshape(known.num_rows, factors)
    return vectors


def _similar(connection: duckdb.DuckDBPyConnection, rows: int) -> tuple[I32, F32]:
    """int32[rows, SIMILAR_KEPT] rows of live neighbours, most similar first, and their float32 similarity."""
    pairs = connection.sql(_SIMILAR).to_arrow_table()
    place = pairs["row"].to_numpy(), pairs["slot"].to_numpy()
    similar = np.full((rows, SIMILAR_KEPT), ABSENT, np.int32)
    similarity = np.zeros((rows, SIMILAR_KEPT), np.float32)
    similar[place], similarity[place] = pairs["similar"].to_numpy(), pairs["similarity"].to_numpy()
    return similar, similarity


def _top(connection: duckdb.DuckDBPyConnection, languages: pa.Table) -> pa.Table:
    hot = connection.sql(_TOP).to_arrow_table()
    return pa.table([indices(hot["language"], languages), hot["row"], hot["heat"]], schema=TOP_SCHEMA)


_PROMOTIONS = f"""
SELECT p.promotion_id, live.row, epoch_us(p.starts_at) AS starts_at, epoch_us(p.ends_at) AS ends_at,
       p.priority, coalesce(p.daily_cap_per_user, {NO_CAP}) AS daily_cap
FROM valid_promotions p LEFT JOIN live USING (story_id)
WHERE p.ends_at > $as_of ORDER BY p.priority DESC, p.promotion_id
"""


def read_promotions(connection: duckdb.DuckDBPyConnection, as_of: datetime) -> tuple[pa.Table, int]:
    """A table of PROMOTIONS_SCHEMA, and how many promotions were left out because their story is not live.

    Needs the temporary table `live`. Left out as well are those that have ended.
    """
    found = connection.sql(_PROMOTIONS, params={"as_of": as_of}).to_arrow_table()
    hashes = pa.array(hash64_many(found["promotion_id"].to_pylist()), pa.int64())
    known = found.append_column("hash", hashes).filter(found["row"].is_valid())
    return known.select(PROMOTIONS_SCHEMA.names).cast(PROMOTIONS_SCHEMA), len(found) - len(known)


MAX_TARGETS = 1_000_000
"""Those with the most edges come first; some 100 MB in every process, and far more than sites have authors without stories."""


def read_targets(connection: duckdb.DuckDBPyConnection, tables: dict[str, pa.Table]) -> pa.Table:
    """A table of TARGETS_SCHEMA, by hash: ids that users follow, mute or block and that no story names, so that a profile has
    only their hashes. Of two ids with one hash the first by id.

    Not rows of the tables of names: anybody can follow an id that was made to have another's hash, and there it would
    stand in that one's place.
    """
    for target in TARGET_TYPES:
        connection.register(f"named_{target}", tables[f"{target}s"].select(["id"]))
    bare = " UNION ALL ".join(
        f"SELECT id FROM (SELECT unnest({kind}_{target}s) AS id FROM user_profiles) ANTI JOIN named_{target} USING (id)"
        for kind in EDGE_KINDS
        for target in TARGET_TYPES
    )
    query = f"SELECT id FROM ({bare}) GROUP BY id ORDER BY count(*) DESC, id LIMIT {MAX_TARGETS}"
    ids = connection.sql(f"SELECT id FROM ({query}) ORDER BY id").to_arrow_table()["id"].combine_chunks()
    hashes, first = np.unique(hash64_many(ids.to_pylist()), return_index=True)
    return pa.table([hashes, ids.take(pa.array(first))], names=TARGETS_SCHEMA.names).cast(TARGETS_SCHEMA)
