"""Users of a snapshot: everything known of one user, packed, in buckets that are named by their content."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batch.snapshot_tables import refuse_collisions
from features.arrays import I32, I64
from features.choices import BLOCKED_BY, ENDED, HELD
from features.keys import hash64_many
from features.languages import language_codes
from features.snapshot import AFFINITIES, PROFILE
from features.snapshot_reader import profile_field
from features.times import UNDATED

USERS_PER_BUCKET = 256
"""At most this many on average: a bucket of busy users stays under a few MB, a manifest of a million users under 8,000 names."""

LISTS = {name: f"{name}s" if "_" in name and name != BLOCKED_BY else name for name in (*HELD.values(), *ENDED.values())}
"""Array of PROFILE → its column of `user_profiles`; `_at` is appended to both for the times."""


@dataclass(frozen=True, slots=True)
class Ragged:
    """One array per user, end to end: user i has `values[offsets[i]:offsets[i + 1]]`."""

    values: NDArray[np.generic]
    offsets: I64

    def of(self, user: int) -> NDArray[np.generic]:
        """The user's array."""
        return self.values[self.offsets[user] : self.offsets[user + 1]]


@dataclass(frozen=True, slots=True)
class Users:
    """Everyone, columnar. Buckets are packed on demand, so that a million users need not be packed at once."""

    hashes: I64
    """int64[users], hash of each user_id"""
    fields: dict[str, Ragged]
    """Array of PROFILE → one array a user"""

    def __post_init__(self) -> None:
        """ValueError where a user's affinities or edges do not have one value each."""
        beside = [
            (f"{target}_affinity_ids", f"{target}_{name}") for target, names in AFFINITIES.items() for name in names
        ]
        beside += [(name, f"{name}_at") for name in (*HELD.values(), *ENDED.values())]
        for of, name in beside:
            ids, values = self.fields.get(of), self.fields.get(name)
            if (ids is None) != (values is None) or (
                ids is not None and values is not None and not np.array_equal(ids.offsets, values.offsets)
            ):
                raise ValueError(f"{name} needs as many values for each user as {of} has ids")

    @property
    def buckets(self) -> int:
        """A power of two, so that growth moves everyone to another bucket only when the number of users doubles."""
        wanted = -(-len(self.hashes) // USERS_PER_BUCKET)
        return 1 << max(0, wanted - 1).bit_length()

    def members(self) -> list[I64]:
        """Positions of the users of each bucket: `hash mod buckets`."""
        bucket_of = self.hashes % self.buckets
        order = np.argsort(bucket_of, kind="stable")
        return np.split(order, np.searchsorted(bucket_of[order], np.arange(1, self.buckets)))

    def pack(self, members: I64) -> dict[bytes, bytes]:
        """User hash (8 bytes LE) → PROFILE of each member."""
        return {profile_field(int(self.hashes[i])): self.profile(int(i)) for i in members}

    def profile(self, user: int) -> bytes:
        """Packed PROFILE of the user at this position."""
        return PROFILE.encode({name: ragged.of(user) for name, ragged in self.fields.items()})


def read_users(connection: duckdb.DuckDBPyConnection, factors: int) -> Users:
    """Everyone in `user_profiles`, by user_id. BadInput when two of them share one hash."""
    connection.execute("""
        CREATE TEMP TABLE users AS
        SELECT (row_number() OVER (ORDER BY user_id) - 1)::INTEGER AS user, * FROM user_profiles
    """)
    profiles = connection.sql("SELECT * FROM users ORDER BY user").to_arrow_table()
    hashes = hash64_many(profiles["user_id"].to_pylist())
    refuse_collisions("users", pa.table([profiles["user_id"], pa.array(hashes)], names=["id", "hash"]))
    fields = _profile_fields(profiles)
    for target, values in AFFINITIES.items():
        fields |= _affinity_fields(connection, target, values, len(hashes))
    fields["vector"] = _vectors(connection, len(hashes), factors)
    return Users(hashes, fields)


def _profile_fields(profiles: pa.Table) -> dict[str, Ragged]:
    columns = {name: profiles[name].combine_chunks() for name in profiles.column_names}
    one_each = np.arange(len(profiles) + 1, dtype=np.int64)
    tags = columns["languages"]
    fields = {"languages": Ragged(language_codes(tags.flatten().to_pylist()), _offsets(tags))}
    for name, column in LISTS.items():
        fields |= {name: _hashed(columns[column]), f"{name}_at": _times(columns[f"{column}_at"])}
    fields["is_member"] = Ragged(columns["is_member"].fill_null(False).cast(pa.uint8()).to_numpy(), one_each)
    for name in ("created_at", "updated_at"):
        known = columns[name].is_valid().to_numpy(zero_copy_only=False)
        times = columns[name].drop_null().cast(pa.int64()).to_numpy()
        fields[name] = Ragged(times, np.concatenate([[0], np.cumsum(known)]))
    fields["read"], fields["read_at"] = _pairs(columns["read"], "at")
    fields["seen"], fields["seen_times"] = _pairs(columns["seen"], "times")
    return fields


def _hashed(lists: pa.ListArray) -> Ragged:
    """Hashes of the ids in each user's list; each different id is hashed once."""
    return Ragged(_hashes(lists.flatten()), _offsets(lists))


def _times(lists: pa.ListArray) -> Ragged:
    """Moments of each user's list, µs."""
    return Ragged(lists.flatten().cast(pa.int64()).to_numpy(), _offsets(lists))


def _pairs(lists: pa.ListArray, second: str) -> tuple[Ragged, Ragged]:
    """Lists of (story_id, `second`) → hashes of the stories, and the second values as integers, UNDATED for no time."""
    pairs, offsets = lists.flatten(), _offsets(lists)
    values = pairs.field(second)
    integers = (
        values.cast(pa.int64()).fill_null(UNDATED) if pa.types.is_timestamp(values.type) else values.cast(pa.int32())
    )
    return Ragged(_hashes(pairs.field("story_id")), offsets), Ragged(integers.to_numpy(), offsets)


def _hashes(ids: pa.Array) -> I64:
    encoded = ids.dictionary_encode()
    return hash64_many(encoded.dictionary.to_pylist())[encoded.indices.to_numpy()]


def _offsets(lists: pa.ListArray) -> I64:
    """Where each list starts in `lists.flatten()`, which leaves null lists out."""
    lengths = lists.value_lengths().fill_null(0).to_numpy()
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def _affinity_fields(
    connection: duckdb.DuckDBPyConnection, target: str, values: tuple[str, ...], users: int
) -> dict[str, Ragged]:
    table = connection.sql(f"""
        SELECT user, a.{target}_id AS id, {", ".join(f"{name}::REAL AS {name}" for name in values)}
        FROM user_{target}_affinity a JOIN users USING (user_id) ORDER BY user, id
    """).to_arrow_table()
    offsets = _group_offsets(table["user"].to_numpy(), users)
    ids = {f"{target}_affinity_ids": Ragged(_hashes(table["id"].combine_chunks()), offsets)}
    return ids | {f"{target}_{name}": Ragged(table[name].to_numpy(), offsets) for name in values}


def _vectors(connection: duckdb.DuckDBPyConnection, users: int, factors: int) -> Ragged:
    table = connection.sql("""
        SELECT user, vector FROM als_vectors v JOIN users ON users.user_id = v.id
        WHERE v.entity = 'user' ORDER BY user
    """).to_arrow_table()
    offsets = _group_offsets(table["user"].to_numpy(), users) * factors
    return Ragged(table["vector"].combine_chunks().flatten().to_numpy(), offsets)


def _group_offsets(user: I32, users: int) -> I64:
    """Offsets of each user's rows in a table sorted by user."""
    return np.searchsorted(user, np.arange(users + 1)).astype(np.int64)
