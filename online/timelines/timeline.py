"""A timeline: the newest stories pushed to one person, as it lies in Redis (a list, newest first)."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from features.packing import CorruptValue
from online.columns import Hashes

ENTRY = np.dtype([("seq", "<u8"), ("published_us", "<i8"), ("story", "<i8"), ("via", "u1")])
"""Start of an entry; the story_id in UTF-8 follows it, so that ties in time can be ordered by it."""
_PACK = struct.Struct("<QqqB")
VIA = {"author": 1, "publication": 2}
"""Bits of `via`: the followed targets for which an entry was pushed."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Entries newest first by (published_at, story_id); m ≤ 800."""

    seq: int
    """The person's last sequence number; grows with every entry that is added."""
    snapshot: str
    """Version of the snapshot with whose follows it was last brought in line."""
    entries: np.ndarray
    """ENTRY[m]"""

    @property
    def stories(self) -> Hashes:
        """int64[m]"""
        return self.entries["story"]


def encode_entry(seq: int, published_us: int, story: int, via: int, story_id: str) -> bytes:
    """One element of the list."""
    return _PACK.pack(seq, published_us, story, via) + story_id.encode()


def decode_timeline(raw: Sequence[bytes], about: Mapping[bytes, bytes]) -> Timeline | None:
    """The timeline from its list and its `about` hash; None when there is none: the person has been away."""
    if not about:
        return None
    try:
        entries = np.frombuffer(b"".join([item[: _PACK.size] for item in raw]), ENTRY)
        return Timeline(int(about[b"seq"]), about[b"snapshot"].decode(), entries)
    except (ValueError, KeyError) as error:
        raise CorruptValue(f"timeline: {error}") from error
