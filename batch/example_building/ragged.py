"""Lists of structs in an Arrow column, as flat NumPy arrays and offsets; and dense numbers for the few ids of one user."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.arrays import F32, I32, I64, Hashes
from features.snapshot import ABSENT

NEVER = np.iinfo(np.int64).max
"""Stands for a null integer: an interval that does not end, an author that there is not."""


class Lists:
    """One list of structs a row; a null list is empty. Row i has the entries `slice(i)` of every array."""

    def __init__(self, column: pa.ListArray) -> None:
        lengths = column.value_lengths().fill_null(0).to_numpy()
        self.offsets: I64 = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
        self._entries: pa.StructArray = column.flatten()  # leaves null lists out, as the offsets do
        self._arrays: dict[str, NDArray[np.generic]] = {}

    def __len__(self) -> int:
        """Entries of all lists."""
        return len(self._entries)

    def arrow(self, name: str) -> pa.Array:
        """A field of all entries."""
        return self._entries.field(name)

    def ints(self, name: str) -> Hashes:
        """int64[entries]; NEVER where null."""
        return self._array(name, pa.int64(), NEVER).astype(np.int64, copy=False)

    def floats(self, name: str) -> F32:
        """float32[entries]; NaN where null."""
        return self._array(name, pa.float32(), np.nan).astype(np.float32, copy=False)

    def slice(self, row: int) -> slice:
        """The entries of one row."""
        return slice(self.offsets[row], self.offsets[row + 1])

    def padded(self) -> I32:
        """int32[rows, longest]: positions of each row's entries, ABSENT at the end."""
        lengths = np.diff(self.offsets)
        within = np.arange(int(lengths.max(initial=0))) < lengths[:, None]
        out = np.full(within.shape, ABSENT, np.int32)
        out[within] = np.arange(len(self), dtype=np.int32)
        return out

    def _array(self, name: str, kind: pa.DataType, null: float) -> NDArray[np.generic]:
        if name not in self._arrays:
            column = self.arrow(name).cast(kind).fill_null(pa.scalar(null, kind))
            self._arrays[name] = column.to_numpy(zero_copy_only=False)
        return self._arrays[name]


class HashNumbers:
    """Dense numbers for the different hashes of one array."""

    def __init__(self, hashes: Hashes) -> None:
        present = hashes != NEVER
        self._known = np.unique(hashes[present])
        self.index: I32 = np.where(present, np.searchsorted(self._known, hashes), ABSENT).astype(np.int32)
        """int32, shaped as the hashes: the number of each; ABSENT for NEVER."""

    def __len__(self) -> int:
        return len(self._known)

    def find(self, wanted: Hashes) -> I32:
        """int32, shaped as `wanted`: the number of each, ABSENT where it is not one of these."""
        if not len(self._known):
            return np.full(wanted.shape, ABSENT, np.int32)
        at = np.minimum(np.searchsorted(self._known, wanted), len(self._known) - 1)
        return np.where(self._known[at] == wanted, at, ABSENT).astype(np.int32)


def matrix(vectors: pa.ListArray) -> F32:
    """float32[rows, longest]: one vector a row, zeros for null and behind a shorter one."""
    lengths = vectors.value_lengths().fill_null(0).to_numpy()
    out = np.zeros((len(vectors), int(lengths.max(initial=0))), np.float32)
    out[np.arange(out.shape[1]) < lengths[:, None]] = vectors.flatten().to_numpy(zero_copy_only=False)
    return out
