"""A snapshot cut into pieces that are named by their content, and the manifest that lists them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from batch.snapshot_content import Content
from batch.snapshot_users import Users
from features.arrays import I64
from features.snapshot import TABLES, Manifest, digest, encode_table, named, schema_hash
from features.snapshot_reader import bucket_digest
from features.times import rfc3339


@dataclass(frozen=True, slots=True)
class Pieces:
    """Table chunks and the model as bytes; users as positions, packed again when written, so that they are never all in memory."""

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
    )
    return named(unnamed, sequence)
