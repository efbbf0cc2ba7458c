"""What one snapshot is going to hold, read from the feature Parquet of one `as_of` with DuckDB (no Spark), and cut into pieces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from batch.graph import RANKED_BY
from batch.run_notes import remedy, stream_positions
from batch.schedule import REFITTED
from batch.snapshot_tables import read_promotions, read_tables, read_targets, refuse_collisions
from batch.snapshot_users import Users, read_users
from features.arrays import I64
from features.duckdb_views import connect_to
from features.errors import BadInput
from features.packing import name_of
from features.partitions import constants_of, shortcomings
from features.snapshot import TABLES, Manifest, digest, encode_table, named, schema_hash
from features.snapshot_reader import bucket_digest
from features.times import rfc3339
from lake.models import released
from online.rankers.models.model_file import decode

VALIDATED = ("valid_stories", "valid_promotions")
"""Of these one partition serves every earlier as_of: it has the moment from which on each row is known."""
READS = (*RANKED_BY, *VALIDATED)
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
    constants: str = ""
    """Version of the constants that the features were computed with; empty: unknown."""
    promotions_without_story: int = 0
    """Promotions that are left out because their story is unknown, withdrawn or not published yet."""
    model: bytes | None = None
    """The ranking model; None: the ranker with named weights serves alone."""


def read_content(lake: Path, as_of: datetime) -> Content:
    """The snapshot of `as_of`, with the model that the lake has released.

    BadInput when the batch has not finished for it, two ids share one hash, or the model must not be used.
    """
    model = checked_model(lake)
    positions = stream_positions(lake, as_of)
    content = content_of(lake, as_of, partitions_at(as_of))
    refuse_other_constants(model, content.constants)
    return replace(content, positions=positions, model=model)


def partitions_at(
    as_of: datetime, *, fitted: datetime | None = None, validated: datetime | None = None
) -> dict[str, datetime]:
    """Dataset → the partition from which the snapshot of `as_of` takes it; where as_ofs were computed in one pass, some are shared."""
    shared = dict.fromkeys(VALIDATED, validated or as_of) | dict.fromkeys(REFITTED, fitted or as_of)
    return dict.fromkeys(READS, as_of) | shared


def content_of(lake: Path, as_of: datetime, partitions: Mapping[str, datetime]) -> Content:
    """The content of `as_of` from these partitions, without a model. BadInput when one is not there, or two ids share one hash."""
    constants = set()
    for partition in sorted({*partitions.values()}):
        wanted = [name for name, of in partitions.items() if of == partition]
        if missing := shortcomings(lake, wanted, partition):
            raise BadInput(
                f"The lake at {lake} has no {', '.join(missing)} for {partition.isoformat()} (the partition "
                f"{', or '.join(dict.fromkeys(missing.values()))}); {remedy(partition)}"
            )
        constants |= constants_of(lake, wanted, partition)
    if len(constants) > 1:
        raise BadInput(
            f"The features of {as_of.isoformat()} in the lake at {lake} were computed with different constants "
            f"({', '.join(sorted(constants))}); {remedy(as_of)}"
        )
    with connect_to(lake, partitions, known_at=as_of) as connection:
        tables, factors = read_tables(connection, as_of)
        tables["targets"] = read_targets(connection, tables)
        tables["promotions"], left_out = read_promotions(connection, as_of)
        refuse_collisions("promotions", tables["promotions"].rename_columns({"promotion_id": "id"}))
        users = read_users(connection, factors)
        return Content(as_of, {}, factors, tables, users, "".join(constants), left_out)


def checked_model(lake: Path) -> bytes | None:
    """The lake's released model, tried out; None: none is released. BadInput when it is damaged or made for other features."""
    model = released(lake)
    if model is not None:
        decode(model, name_of(model))
    return model


def refuse_other_constants(model: bytes | None, constants: str) -> None:
    """BadInput when both say with which constants their features were computed, and differ: scores would mean nothing."""
    theirs = "" if model is None else decode(model, name_of(model)).about.get("constants", "")
    if theirs and constants and theirs != constants:
        raise BadInput(
            f"The released model learned from features of the constants {theirs}, and these features are of {constants}; run "
            "`rex train` again, or `rex batch` with the constants of before (REX_BATCH_…, tuned.json)."
        )


@dataclass(frozen=True, slots=True)
class Pieces:
    """A snapshot in pieces that are named by their content: table chunks and the model as bytes; users as positions, packed again when written, so that they are never all in memory."""

    chunks: dict[str, bytes]
    tables: dict[str, list[str]]
    """Table → digests of its chunks, in order."""
    users: Users
    buckets: dict[str, I64]
    """Digest of a bucket that is not empty → positions of its users."""
    places: list[str]
    """Bucket number → digest; empty string: nobody."""
    model: str
    """Digest of the model, which is among the chunks; empty: there is none."""
    size_bytes: int

    def bucket(self, piece: str) -> dict[bytes, bytes]:
        """User hash (8 bytes LE) → PROFILE."""
        return self.users.pack(self.buckets[piece])


def cut(content: Content) -> Pieces:
    """Chunks of every table, the model, and the name of every bucket of users."""
    chunks: dict[str, bytes] = {}
    tables: dict[str, list[str]] = {}
    for name in TABLES:
        encoded = encode_table(content.tables[name])
        tables[name] = [digest(chunk) for chunk in encoded]
        chunks |= zip(tables[name], encoded, strict=True)
    model = "" if content.model is None else digest(content.model)
    if content.model is not None:
        chunks[model] = content.model
    size = sum(map(len, chunks.values()))
    places, buckets = [], {}
    for members in content.users.members():
        packed = content.users.pack(members)
        places.append(bucket_digest(packed) if packed else "")
        size += sum(len(field) + len(value) for field, value in packed.items())
        if packed:
            buckets[places[-1]] = members
    return Pieces(chunks, tables, content.users, buckets, places, model, size)


def manifest_of(content: Content, pieces: Pieces, sequence: int, built_at: datetime) -> Manifest:
    """The table of contents of this content as publication number `sequence`."""
    counts = {name: content.tables[name].num_rows for name in TABLES}
    counts |= {"users": len(content.users.hashes), "promotions_without_story": content.promotions_without_story}
    unnamed = Manifest(
        version="",
        as_of=rfc3339(content.as_of),
        built_at=rfc3339(built_at),
        schema_hash=schema_hash(content.factors),
        factors=content.factors,
        positions=content.positions,
        counts=counts,
        tables=pieces.tables,
        users=pieces.places,
        size_bytes=pieces.size_bytes,
        model=pieces.model,
        constants=content.constants,
    )
    return named(unnamed, sequence)
