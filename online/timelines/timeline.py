"""A timeline: the newest stories pushed to one user, as it lies in Redis (a list, newest first)."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from features.arrays import Hashes
from features.packing import CorruptValue

ENTRY = np.dtype([("seq", "<u8"), ("published_us", "<i8"), ("story", "<i8"), ("via", "u1")])
"""Start of an entry; the story_id in UTF-8 follows it, so that ties in time can be ordered by it."""
_PACK = struct.Struct("<QqqB")
_BODY = struct.Struct("<qqB")
_FLOOR = struct.Struct("<q")
VIA = {"author": 1, "publication": 2}
"""Bits of `via`: the followed targets for which an entry was pushed."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Entries newest first by (published_at, story_id); m ≤ `timeline_length`. It lacks nothing that is newer than its floor."""

    seq: int
    """The user's last sequence number; grows with every entry that is added."""
    snapshot: str
    """Version of the snapshot with whose follows it was last reconciled."""
    entries: np.ndarray
    """ENTRY[m]"""
    follows: bytes = b""
    """Digest of the follows that it was last reconciled with."""
    floor: tuple[int, str] | None = None
    """(published_us, story_id) of the newest story that was left out or trimmed; None: none was."""
    ttl_s: int = 0
    """Seconds until the user counts as away."""

    @property
    def stories(self) -> Hashes:
        """int64[m]"""
        return self.entries["story"]


def encode_body(published_us: int, story: int, via: int, story_id: str) -> bytes:
    """An element without its sequence number, which the script that inserts it gives."""
    return _BODY.pack(published_us, story, via) + story_id.encode()


def encode_floor(published_us: int, story_id: str) -> bytes:
    """The field `floor` of the `about` hash."""
    return _FLOOR.pack(published_us) + story_id.encode()


def decode_timeline(raw: Sequence[bytes], about: Mapping[bytes, bytes], ttl_s: int = 0) -> Timeline | None:
    """The timeline from its list and its `about` hash; None when there is none: the user has been away."""
    if not about:
        return None
    try:
        entries = np.frombuffer(b"".join([item[: _PACK.size] for item in raw]), ENTRY)
        floor = about.get(b"floor")
        left_out = None if floor is None else (int(_FLOOR.unpack_from(floor)[0]), floor[_FLOOR.size :].decode())
        return Timeline(int(about[b"seq"]), about[b"snapshot"].decode(), entries, about[b"follows"], left_out, ttl_s)
    except (ValueError, KeyError, struct.error) as error:
        raise CorruptValue(f"timeline: {error}") from error
