"""The promotions of a snapshot, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from features.arrays import I32, Bools, Hashes, Micros
from features.snapshot import NO_CAP
from online.columns import Rows


@dataclass(frozen=True, slots=True)
class Promotions:
    """k promotions, by priority (highest first), then promotion_id. Immutable."""

    hashes: Hashes
    """int64[k]: hash of the promotion_id."""
    rows: Rows
    """int32[k] of the snapshot's story table; may be superseded, see `StoryTable.current`."""
    starts_at: Micros
    ends_at: Micros
    """The first moment after."""
    daily_cap: I32
    """Slate entries a user and UTC day; NO_CAP: any number."""

    def __len__(self) -> int:
        return len(self.hashes)

    @property
    def caps(self) -> dict[int, int]:
        """Promotion hash → daily cap."""
        return dict(zip(self.hashes.tolist(), self.daily_cap.tolist(), strict=True))

    def running(self, now_us: int) -> Bools:
        """bool[k]"""
        return (self.starts_at <= now_us) & (now_us < self.ends_at)

    def under_cap(self, placed: Mapping[int, int]) -> Bools:
        """bool[k]: there is room for another entry today; `placed`: promotion hash → entries placed today."""
        today = np.array([placed.get(promotion, 0) for promotion in self.hashes.tolist()], np.int64)
        return (self.daily_cap == NO_CAP) | (today < self.daily_cap)


def promotions_of(table: pa.Table) -> Promotions:
    """From a table of `features.snapshot.PROMOTIONS_SCHEMA`."""
    column = {name: table[name].to_numpy() for name in ("hash", "row", "starts_at", "ends_at", "daily_cap")}
    return Promotions(column["hash"], column["row"], column["starts_at"], column["ends_at"], column["daily_cap"])
