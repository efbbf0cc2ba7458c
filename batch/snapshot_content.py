"""What one snapshot is going to hold, read from the feature Parquet of one `as_of` with DuckDB; no Spark."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from batch.snapshot_tables import read_promotions, read_tables, refuse_collisions
from batch.snapshot_targets import read_targets
from batch.snapshot_users import Users, read_users
from features.duckdb_views import connect, partition_name
from features.errors import BadInput
from features.packing import name_of
from lake.models import released
from online.rankers.models.model_file import decode

READS = (
    "valid_stories",
    "story_features",
    "author_features",
    "publication_features",
    "topic_features",
    "language_features",
    "user_profiles",
    "user_author_affinity",
    "user_publication_affinity",
    "user_topic_affinity",
    "als_vectors",
    "similar_stories",
    "top_stories",
    "valid_promotions",
)
"""Datasets that a snapshot is built from; a run that has not written them all cannot be published."""


@dataclass(frozen=True, slots=True)
class Content:
    """One snapshot before it has a version."""

    as_of: datetime
    positions: dict[str, str]
    """Online stream → id of the last entry that the lake holds."""
    factors: int
    """Length of the ALS vectors; 0: there are none."""
    tables: dict[str, pa.Table]
    users: Users
    promotions_without_story: int = 0
    """Promotions that are left out because their story is unknown, withdrawn or not published yet."""
    model: bytes | None = None
    """The ranking model; None: the ranker with named weights serves alone."""


def read_content(lake: Path, as_of: datetime) -> Content:
    """The snapshot of `as_of`, with the model that the lake has released.

    BadInput when the batch has not finished for it, two ids share one hash, or the model must not be used.
    """
    model = checked_model(lake)
    positions = read_positions(lake, as_of)
    missing = [name for name in READS if not (lake / "features" / name / partition_name(as_of)).is_dir()]
    if missing:
        raise BadInput(f"The lake at {lake} has no {', '.join(missing)} for {as_of.isoformat()}; {_remedy(as_of)}")
    with connect(lake, as_of) as connection:
        tables, factors = read_tables(connection, as_of)
        tables["targets"] = read_targets(connection, tables)
        tables["promotions"], left_out = read_promotions(connection, as_of)
        refuse_collisions("promotions", tables["promotions"].rename_columns({"promotion_id": "id"}))
        return Content(as_of, positions, factors, tables, read_users(connection, factors), left_out, model)


def checked_model(lake: Path) -> bytes | None:
    """The lake's released model, tried out; None: none is released. BadInput when it is damaged or made for other features."""
    model = released(lake)
    if model is not None:
        decode(model, name_of(model))
    return model


def read_positions(lake: Path, as_of: datetime) -> dict[str, str]:
    """Stream positions that the finished batch run of `as_of` noted. BadInput when there is no such run."""
    path = lake / "features" / "_runs" / f"{partition_name(as_of)}.json"
    if not path.is_file():
        raise BadInput(f"No batch run of {as_of.isoformat()} has finished in the lake at {lake}; {_remedy(as_of)}")
    try:
        positions = json.loads(path.read_bytes())["positions"]
        return {str(stream): str(entry) for stream, entry in positions.items()}
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise BadInput(f"The run file {path} is damaged ({error!r}); {_remedy(as_of)}") from error


def _remedy(as_of: datetime) -> str:
    return f"run `rex batch --as-of {as_of.isoformat()}` first."
