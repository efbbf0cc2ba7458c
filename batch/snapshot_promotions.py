"""The promotions of a snapshot: those that have not ended, of stories it holds."""

from __future__ import annotations

from datetime import datetime

import duckdb
import pyarrow as pa

from features.keys import hash64_many
from features.snapshot import NO_CAP, PROMOTIONS_SCHEMA

_PROMOTIONS = f"""
SELECT p.promotion_id, live.row, epoch_us(p.starts_at) AS starts_at, epoch_us(p.ends_at) AS ends_at,
       p.priority, coalesce(p.daily_cap_per_user, {NO_CAP}) AS daily_cap
FROM valid_promotions p LEFT JOIN live USING (story_id)
WHERE p.ends_at > $as_of ORDER BY p.priority DESC, p.promotion_id
"""


def read_promotions(connection: duckdb.DuckDBPyConnection, as_of: datetime) -> tuple[pa.Table, int]:
    """A table of PROMOTIONS_SCHEMA, and how many promotions were left out because their story is not live.

    Needs the temporary table `live` of batch/snapshot_tables.py.
    """
    found = connection.sql(_PROMOTIONS, params={"as_of": as_of}).to_arrow_table()
    hashes = pa.array(hash64_many(found["promotion_id"].to_pylist()), pa.int64())
    known = found.append_column("hash", hashes).filter(found["row"].is_valid())
    return known.select(PROMOTIONS_SCHEMA.names).cast(PROMOTIONS_SCHEMA), len(found) - len(known)
