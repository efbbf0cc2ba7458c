"""What was answered to one user lately: bounded, for sinking what is shown without being opened and for capping what dominates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from features.arrays import Hashes, Micros
from features.packing import CorruptValue

_SLATE_BYTES = 12
"""A slate id is 96 bits (online/slates/slate.py, `identify`)."""


@dataclass(frozen=True, slots=True)
class ServedHistory:
    """One entry for each story of each slate that was answered, however often its page was; k entries."""

    stories: Hashes = field(default_factory=lambda: np.empty(0, np.int64))
    served_us: Micros = field(default_factory=lambda: np.empty(0, np.int64))
    """When the slate's page was last answered."""


def encode_page(slate_id: str, stories: Hashes) -> bytes:
    """A member of the sorted set; its score is the time in ms. The same page twice is one member."""
    return bytes.fromhex(slate_id) + stories.astype("<i8").tobytes()


def decode_history(raw: Sequence[tuple[bytes, float]]) -> ServedHistory:
    """From members with scores. CorruptValue when one is not a page."""
    if not raw:
        return ServedHistory()
    if any((len(page) - _SLATE_BYTES) % 8 or len(page) < _SLATE_BYTES for page, _ in raw):
        raise CorruptValue("served history: a page is not a slate id and story hashes")
    pages = [np.frombuffer(page, "<i8", offset=_SLATE_BYTES) for page, _ in raw]
    slates = np.array([page[:8] for page, _ in raw], "S8").view("<i8")
    lengths = [len(page) for page in pages]
    stories = np.concatenate(pages)
    served_us = np.repeat(np.array([ms * 1000 for _, ms in raw], np.int64), lengths)
    both = np.rec.fromarrays([np.repeat(slates, lengths), stories])
    newest_first = np.argsort(-served_us, kind="stable")
    _, first = np.unique(both[newest_first], return_index=True)
    kept = newest_first[np.sort(first)]
    return ServedHistory(stories[kept], served_us[kept])
