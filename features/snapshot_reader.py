"""Reads a snapshot back out of Redis, every piece checked against its name. Publisher and online service share it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import pyarrow as pa
import redis

from features.errors import Unavailable
from features.keys import Keys
from features.packing import CorruptValue
from features.snapshot import (
    FORMER_KEYS_SCHEMA,
    PROMOTIONS_SCHEMA,
    TABLES,
    TARGETS_SCHEMA,
    TOP_SCHEMA,
    Manifest,
    decode_table,
    digest,
    names_schema,
    schema_hash,
    stories_schema,
)

NAME_TABLES = {"authors": "author", "publications": "publication", "topics": "topic", "languages": "language"}
"""Table → the entity whose features it holds."""


@dataclass(frozen=True, slots=True)
class SnapshotAbout:
    """One published snapshot, for users to read."""

    version: str
    as_of: str
    """RFC 3339"""
    age_s: float
    """Seconds since `as_of`."""
    counts: dict[str, int]
    """Rows per table, and `users`."""
    size_bytes: int
    current: bool


def current_version(client: redis.Redis, keys: Keys) -> str:
    """Version that the pointer names. Unavailable when nothing was ever published."""
    version = cast("bytes | None", client.get(keys.current()))
    if version is None:
        raise Unavailable("No snapshot is published yet; run `rex publish`.")
    return version.decode()


def gone(version: str) -> Unavailable:
    """The error for a loaded snapshot that is not among the published ones."""
    return Unavailable(
        f"snapshot {version} is not in Redis any more; the current one is loaded as soon as there is one (`rex publish`)"
    )


def published(client: redis.Redis, keys: Keys) -> list[str]:
    """Published versions that are kept, newest publication first."""
    return [version.decode() for version in cast("list[bytes]", client.zrange(keys.versions(), 0, -1, desc=True))]


def snapshots(client: redis.Redis, keys: Keys, now: datetime) -> list[SnapshotAbout]:
    """What is published, newest publication first; empty when nothing is."""
    current = cast("bytes | None", client.get(keys.current()))
    found = []
    for version in published(client, keys):
        if (manifest := stored_manifest(client, keys, version)) is None:
            continue  # pruned since the list was read
        age_s = (now - datetime.fromisoformat(manifest.as_of)).total_seconds()
        is_current = version.encode() == current
        found.append(SnapshotAbout(version, manifest.as_of, age_s, manifest.counts, manifest.size_bytes, is_current))
    return found


def read_manifest(client: redis.Redis, keys: Keys, version: str) -> Manifest:
    """Unavailable when the version is gone or of another form than this code's; CorruptValue when it is no manifest."""
    manifest = stored_manifest(client, keys, version)
    if manifest is None:
        raise Unavailable(f"Snapshot {version} is not in Redis (any more); run `rex snapshots` to see which are.")
    if manifest.schema_hash != schema_hash(manifest.factors):
        raise Unavailable(f"Snapshot {version} was written by another release of Rex; run `rex publish` with this one.")
    return manifest


def stored_manifest(client: redis.Redis, keys: Keys, version: str) -> Manifest | None:
    """The manifest, whatever release wrote it; None when there is none. CorruptValue when it is no manifest."""
    data = cast("bytes | None", client.get(keys.manifest(version)))
    return None if data is None else Manifest.decode(data)


def read_tables(client: redis.Redis, keys: Keys, manifest: Manifest) -> dict[str, pa.Table]:
    """Every table of TABLES by name, in the schemas of features/snapshot.py.

    Unavailable when a chunk is missing (the snapshot was pruned meanwhile); CorruptValue when bytes, schema or number
    of rows are not what the manifest says.
    """
    return {name: _read_table(client, keys, manifest, name) for name in TABLES}


def read_model(client: redis.Redis, keys: Keys, manifest: Manifest) -> bytes | None:
    """The model's bytes, checked against their name; None: the snapshot has none. Unavailable, CorruptValue as read_blob."""
    return read_blob(client, keys, manifest.model) if manifest.model else None


def table_schema(name: str, factors: int) -> pa.Schema:
    """Schema of the table called `name` in a snapshot whose vectors have `factors` entries."""
    if name == "stories":
        return stories_schema(factors)
    others = {
        "top": TOP_SCHEMA,
        "promotions": PROMOTIONS_SCHEMA,
        "targets": TARGETS_SCHEMA,
        "former_keys": FORMER_KEYS_SCHEMA,
    }
    return others[name] if name in others else names_schema(NAME_TABLES[name])


def read_blob(client: redis.Redis, keys: Keys, piece: str) -> bytes:
    """One table chunk, or the model. Unavailable when missing, CorruptValue when altered."""
    blob = cast("bytes | None", client.get(keys.blob(piece)))
    if blob is None:
        raise Unavailable(f"Blob {piece} of a snapshot is not in Redis (any more).")
    if digest(blob) != piece:
        raise CorruptValue(f"blob {piece}: its content is not what its name says")
    return blob


def read_bucket(client: redis.Redis, keys: Keys, piece: str) -> dict[bytes, bytes]:
    """One bucket of users: user hash (8 bytes LE) → packed PROFILE. Unavailable when missing, CorruptValue when altered."""
    bucket = cast("dict[bytes, bytes]", client.hgetall(keys.users(piece)))
    if not bucket:
        raise Unavailable(f"Users bucket {piece} of a snapshot is not in Redis (any more).")
    if bucket_digest(bucket) != piece:
        raise CorruptValue(f"users bucket {piece}: its content is not what its name says")
    return bucket


def bucket_digest(bucket: Mapping[bytes, bytes]) -> str:
    """Content name of a bucket: 128 bits of SHA-256 over its entries by field, each with its length."""
    whole = hashlib.sha256()
    for field, value in sorted(bucket.items()):
        whole.update(field + len(value).to_bytes(4, "little"))
        whole.update(value)
    return whole.hexdigest()[:32]


def profile_place(manifest: Manifest, user_hash: int) -> tuple[str, bytes]:
    """(digest of the bucket, field in it) where a user's profile would be; empty digest: nobody is in that bucket."""
    return manifest.users[user_hash % len(manifest.users)], profile_field(user_hash)


def profile_field(user_hash: int) -> bytes:
    """Field of a user in the bucket: the signed hash, 8 bytes, little-endian."""
    return user_hash.to_bytes(8, "little", signed=True)


def _read_table(client: redis.Redis, keys: Keys, manifest: Manifest, name: str) -> pa.Table:
    table = decode_table(name, [read_blob(client, keys, piece) for piece in manifest.tables[name]])
    if not table.schema.equals(table_schema(name, manifest.factors)):
        raise CorruptValue(f"snapshot table {name}: its schema is not the declared one")
    if table.num_rows != manifest.counts[name]:
        raise CorruptValue(f"snapshot table {name}: {table.num_rows} rows, the manifest says {manifest.counts[name]}")
    return table
