"""What users follow, mute or block and no story names: ids of which a profile has the hashes only."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa

from features.keys import hash64_many
from features.raw_datasets import EDGE_KINDS, TARGET_TYPES
from features.snapshot import TARGETS_SCHEMA

MAX_TARGETS = 1_000_000
"""Those with the most edges come first; some 100 MB in every process, and far more than sites have authors without stories."""


def read_targets(connection: duckdb.DuckDBPyConnection, tables: dict[str, pa.Table]) -> pa.Table:
    """A table of TARGETS_SCHEMA, by hash, without what `tables` of names tell. Of two ids with one hash the first by id.

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
