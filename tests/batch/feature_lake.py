"""A small feature lake of one `as_of`, written through the declared schemas, as a finished batch run leaves it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.datasets import dataset
from features.keys import hash64
from features.lake_layout import partition_name
from features.partitions import write_manifest

AS_OF = datetime(2026, 1, 31, tzinfo=UTC)
FACTORS = 2
HOUR = timedelta(hours=1)
Row = dict[str, Any]
Rows = dict[str, list[Row]]


def story(story_id: str, hours_ago: float, **more: Any) -> Row:
    """A row of valid_stories published so long before AS_OF, and known since; everything optional is null unless given."""
    published_at = AS_OF - hours_ago * HOUR
    known = {"story_id": story_id, "published_at": published_at, "updated_at": published_at}
    known["valid_from"] = more.get("updated_at", published_at)
    hashes = {"story_hash": hash64(story_id), "duplicate_key": hash64(story_id)}
    return known | hashes | {"visibility": "public", "members_only": False} | more


def user(user_id: str, **more: Any) -> Row:
    """A row of user_profiles about whom nothing is known unless given; edges were changed an hour before AS_OF."""
    lists = [c.name for c in dataset("user_profiles").columns if pa.types.is_list(c.type)]
    changed = {f"{name}_at": [AS_OF - HOUR] * len(ids) for name, ids in more.items() if f"{name}_at" in lists}
    return {"user_id": user_id, "is_member": False} | {name: [] for name in lists} | changed | more


def vector(entity: str, ident: str, *values: float) -> Row:
    """A row of als_vectors."""
    return {"entity": entity, "id": ident, "vector": list(values)}


def many(stories: int, users: int) -> Rows:
    """Plain stories `s0…`, by ten authors, and users `p0…` who follow and read some of them."""
    return {
        "valid_stories": [story(f"s{i}", 1 + i, author_id=f"a{i % 10}", topics=[f"t{i % 3}"]) for i in range(stories)],
        "story_features": [{"story_id": f"s{i}", "story_popularity": float(i)} for i in range(stories)],
        "user_profiles": [
            user(f"p{i}", follow_authors=[f"a{i % 10}"], read=[{"story_id": f"s{i % stories}", "at": AS_OF - HOUR}])
            for i in range(users)
        ],
        "als_vectors": [
            *(vector("story", f"s{i}", i, 1.0) for i in range(stories)),
            *(vector("user", f"p{i}", 1.0, i) for i in range(users)),
        ],
    }


def write_features(
    lake: Path, rows: Rows, as_of: datetime = AS_OF, positions: dict[str, str] | None = None, constants: str = ""
) -> Path:
    """Write `rows` (dataset → rows; all other datasets of features empty) and the run file. Returns the lake."""
    from batch.snapshot_content import READS

    unknown = rows.keys() - set(READS)
    assert not unknown, f"a snapshot is not built from {unknown}"
    for name in READS:
        write_dataset(lake, name, rows.get(name, []), as_of, constants)
    run = lake / "features" / "_runs" / f"{partition_name(as_of)}.json"
    run.parent.mkdir(parents=True, exist_ok=True)
    run.write_text(json.dumps({"positions": positions or {}}))
    return lake


def write_dataset(lake: Path, name: str, rows: list[Row], as_of: datetime = AS_OF, constants: str = "") -> None:
    """One partition of one dataset, as Spark lays it out: the `as_of` column stands in the path only."""
    schema = dataset(name).arrow_schema()
    schema = pa.schema([field.with_nullable(True) for field in schema if field.name != "as_of"])
    write_partition(lake, name, pa.Table.from_pylist(rows, schema=schema), as_of, constants)


def write_partition(lake: Path, name: str, table: pa.Table, as_of: datetime = AS_OF, constants: str = "") -> Path:
    """The same of a table that may have any columns. Returns its folder."""
    folder = lake / "features" / name / partition_name(as_of)
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / "part-00000.parquet")
    write_manifest(dataset(name), folder, constants)
    return folder
