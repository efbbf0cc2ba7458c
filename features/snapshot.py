"""What a snapshot is made of, as Redis values: manifest, tables as Arrow IPC chunks, users as packed arrays.

Row numbers, and the indices into authors, publications, topics and languages, mean something only inside one snapshot.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa

from features.choices import ENDED, HELD
from features.packing import CorruptValue, Layout, name_of
from features.registry import FEATURES, registered
from features.times import UNDATED

SIMILAR_KEPT = 10
"""Neighbours kept per story; the provider reads those of the last 20 reads, so 200 candidates."""
CHUNK_BYTES = 4 << 20
"""Size of a table chunk; well under Redis' 512 MB value limit and small enough not to stall other clients."""
VERSION_DIGITS = 16
"""Of the digest in a version's name: 64 bits among the publications of one moment, and short enough to type."""
ABSENT = -1
"""Index of a missing author, publication, topic, language or neighbour."""

SUPPORT = ("engagement", "impressions")
"""What an affinity rests on."""
AFFINITIES = {"author": ("affinity",), "publication": ("affinity",), "topic": ("affinity", *SUPPORT)}
"""Target → what a profile holds of each. Topics are few, so that a user has much support for each; for an author, little."""

PROFILE = Layout(
    "profile",
    2,
    (
        ("created_at", "<i8"),  # [1], µs; empty: unknown
        ("updated_at", "<i8"),  # [1], µs, when this version of the account came to be; empty: unknown
        ("is_member", "u1"),  # [1]
        ("languages", "<i8"),  # codes, see features/languages.py; empty: unknown
        *(
            field
            for name in (*HELD.values(), *ENDED.values())
            for field in ((name, "<i8"), (f"{name}_at", "<i8"))  # hashes; µs, when each was last changed
        ),
        *(
            field
            for target, values in AFFINITIES.items()
            for field in ((f"{target}_affinity_ids", "<i8"), *((f"{target}_{name}", "<f4") for name in values))
        ),
        ("vector", "<f4"),  # [factors] or empty
        ("read", "<i8"),  # story hashes, newest first
        ("read_at", "<i8"),  # µs, UNDATED: nobody knows when
        ("seen", "<i8"),  # shown, never opened
        ("seen_times", "<i4"),
    ),
)


def stories_schema(factors: int) -> pa.Schema:
    """The story table: one row a story, by (published_at, story_id); `factors` is the length of the ALS vectors."""
    return pa.schema(
        [
            ("story_id", pa.string()),
            ("story_hash", pa.int64()),
            ("author", pa.int32()),
            ("publication", pa.int32()),
            ("topics", pa.list_(pa.int32())),
            ("language", pa.int32()),
            ("title", pa.string()),
            ("published_at", pa.int64()),  # µs, UNDATED: nobody knows
            ("updated_at", pa.int64()),  # µs, when this version came to be
            ("reading_time_s", pa.float32()),  # NaN: unknown
            ("visibility", pa.int8()),  # index into VISIBILITIES
            ("members_only", pa.bool_()),
            ("duplicate_key", pa.int64()),
            *((feature.name, pa.float32()) for feature in registered("story")),
            ("vector", pa.list_(pa.float32(), factors)),  # all 0: none
            ("similar", pa.list_(pa.int32(), SIMILAR_KEPT)),  # rows, ABSENT at the end
            ("similarity", pa.list_(pa.float32(), SIMILAR_KEPT)),
        ]
    )


def names_schema(entity: str) -> pa.Schema:
    """The author, publication, topic or language table: id, its hash, and the entity's features."""
    return pa.schema([("id", pa.string()), ("hash", pa.int64()), *((f.name, pa.float32()) for f in registered(entity))])


TOP_SCHEMA = pa.schema([("language", pa.int32()), ("row", pa.int32()), ("heat", pa.float32())])
"""Trending stories, hottest first within a language; language ABSENT: over all languages."""

PROMOTIONS_SCHEMA = pa.schema(
    [
        ("promotion_id", pa.string()),
        ("hash", pa.int64()),
        ("row", pa.int32()),  # of the story table
        ("starts_at", pa.int64()),  # µs
        ("ends_at", pa.int64()),  # µs, the first moment after
        ("priority", pa.int32()),
        ("daily_cap", pa.int32()),  # slate entries a user and UTC day, NO_CAP: none
    ]
)
"""Promotions that have not ended, by priority (highest first), then promotion_id."""
NO_CAP = -1

TARGETS_SCHEMA = pa.schema([("hash", pa.int64()), ("id", pa.string())])
"""What edges name and the tables of names do not, by hash: so that users can see whom they follow before there is a story."""

FORMER_KEYS_SCHEMA = pa.schema([("hash", pa.int64()), ("key", pa.int64())])
"""Duplicate keys that stories had before their latest version, and those of stories that are no longer in the story table, by the
story's hash: a hidden story's copies stay hidden when its title changes or it is withdrawn."""

TABLES = ("stories", "authors", "publications", "topics", "languages", "top", "promotions", "targets", "former_keys")


def schema_hash(factors: int) -> str:
    """Changes whenever a reader of the old form could misread the new one: layouts, table schemas, registry."""
    parts = [
        repr((PROFILE.version, PROFILE.fields)),
        stories_schema(factors).to_string(),
        *(names_schema(entity).to_string() for entity in ("author", "publication", "topic", "language")),
        TOP_SCHEMA.to_string(),
        PROMOTIONS_SCHEMA.to_string(),
        TARGETS_SCHEMA.to_string(),
        FORMER_KEYS_SCHEMA.to_string(),
        repr([(f.name, f.entity, f.default) for f in FEATURES]),
        repr(UNDATED),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The table of contents of one snapshot; small, JSON, written before and verified after everything it names."""

    version: str
    as_of: str
    built_at: str
    schema_hash: str
    factors: int
    positions: dict[str, str]
    """Online stream → id of the last entry that the lake of this snapshot holds."""
    counts: dict[str, int]
    """Rows per table, and `users`."""
    tables: dict[str, list[str]]
    """Table → digests of its chunks, in order."""
    users: list[str]
    """Digest of each users bucket; empty string: nobody. A user's bucket is `hash mod len(users)`."""
    size_bytes: int
    """Bytes of all values named here."""
    model: str = ""
    """Digest of the blob that is the ranking model, made for the features of `schema_hash`; empty: there is none."""
    constants: str = ""
    """Version of the constants that its features were computed with; empty: unknown."""

    def encode(self) -> bytes:
        """JSON, keys sorted, so that equal manifests are equal bytes."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """CorruptValue when `data` is not a manifest of this code's form."""
        try:
            return cls(**json.loads(data))
        except (ValueError, TypeError) as error:
            raise CorruptValue(f"snapshot manifest: {error}") from error


def named(manifest: Manifest, sequence: int) -> Manifest:
    """The manifest under its version: `20260131T000000Z-17-9f86d081884c7d65`, readable and sortable by as_of.

    The publishing sequence number starts again when Redis is emptied; the digest of all else that the manifest says keeps
    two contents from ever sharing a name.
    """
    moment = datetime.fromisoformat(manifest.as_of)
    content = digest(replace(manifest, version="").encode())[:VERSION_DIGITS]
    return replace(manifest, version=f"{moment:%Y%m%dT%H%M%SZ}-{sequence}-{content}")


def moment_of(version: str) -> datetime:
    """The as_of in a version's name."""
    return datetime.strptime(version.partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def digest(data: bytes) -> str:
    """Content name of a blob: 128 bits of SHA-256, hex."""
    return name_of(data)[:32]


def encode_table(table: pa.Table) -> list[bytes]:
    """Arrow IPC streams of at most about CHUNK_BYTES each; one (with the schema) for an empty table."""
    rows_per_chunk = max(1, int(table.num_rows * CHUNK_BYTES / max(table.nbytes, 1)))
    chunks = []
    for start in range(0, max(table.num_rows, 1), rows_per_chunk):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table.slice(start, rows_per_chunk).combine_chunks())
        chunks.append(sink.getvalue().to_pybytes())
    return chunks


def decode_table(name: str, chunks: Sequence[bytes]) -> pa.Table:
    """The table from its chunks, in order. CorruptValue when one is not an Arrow stream."""
    try:
        return pa.concat_tables([pa.ipc.open_stream(chunk).read_all() for chunk in chunks]).combine_chunks()
    except pa.ArrowInvalid as error:
        raise CorruptValue(f"snapshot table {name}: {error}") from error
