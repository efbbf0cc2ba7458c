"""Small binary values: a versioned header and little-endian arrays."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from functools import cache

import numpy as np

_HEADER = struct.Struct("<2sBB")
_MAGIC = b"RX"
_ALIGN = 8


class CorruptValue(ValueError):
    """A value read from Redis is not what its layout says. The message names the layout and what is off."""


def _pad(size: int) -> int:
    return -size % _ALIGN


@dataclass(frozen=True, slots=True)
class Layout:
    """Named arrays in a fixed order.

    Bytes: `RX`, u8 version, u8 number of arrays, u32 length of each array, padding; then the arrays, each padded to
    8 bytes, so that they can be read in place.
    """

    name: str
    version: int
    fields: tuple[tuple[str, str], ...]
    """(name, NumPy dtype string with explicit byte order)"""

    def encode(self, arrays: dict[str, np.ndarray]) -> bytes:
        """Bytes of `arrays` (each 1-D; absent: empty). ValueError for an array that the layout does not have."""
        unknown = arrays.keys() - {name for name, _ in self.fields}
        if unknown:
            raise ValueError(f"layout {self.name} has no arrays {sorted(unknown)}")
        packed = [np.ascontiguousarray(arrays.get(name, ()), dtype=dtype) for name, dtype in self.fields]
        counts = struct.pack(f"<{len(packed)}I", *(len(array) for array in packed))
        head = _HEADER.pack(_MAGIC, self.version, len(packed)) + counts
        parts = [head, bytes(_pad(len(head)))]
        for array in packed:
            parts += [array.tobytes(), bytes(_pad(array.nbytes))]
        return b"".join(parts)

    def decode(self, data: bytes) -> dict[str, np.ndarray]:
        """Read-only views into `data`. CorruptValue when header, version or length do not fit."""
        if len(data) < _HEADER.size:
            raise CorruptValue(f"{self.name}: {len(data)} bytes are too few for a header")
        magic, version, count = _HEADER.unpack_from(data)
        if magic != _MAGIC or version != self.version or count != len(self.fields):
            raise CorruptValue(
                f"{self.name}: expected version {self.version} with {len(self.fields)} arrays, "
                f"found {magic!r} version {version} with {count}"
            )
        offset = _HEADER.size + 4 * count
        if len(data) < offset:
            raise CorruptValue(f"{self.name}: cut off in the header after {len(data)} bytes")
        lengths = struct.unpack_from(f"<{count}I", data, _HEADER.size)
        offset += _pad(offset)
        arrays: dict[str, np.ndarray] = {}
        end = len(data)
        for (name, dtype, itemsize, empty), length in zip(_typed(self.fields), lengths, strict=True):
            size = length * itemsize
            if offset + size > end:
                raise CorruptValue(f"{self.name}: array {name} of {length} entries runs past the end")
            arrays[name] = np.frombuffer(data, dtype, length, offset) if length else empty
            offset += size + (-size % _ALIGN)
        return arrays


def name_of(data: bytes) -> str:
    """What a value that is named by its content is called: the SHA-256 of its bytes, hex."""
    return hashlib.sha256(data).hexdigest()


@cache
def _typed(fields: tuple[tuple[str, str], ...]) -> tuple[tuple[str, np.dtype, int, np.ndarray], ...]:
    """Name, type, size of an entry and the empty array; looking a type up takes as long as reading an array."""
    typed = [(name, np.dtype(dtype)) for name, dtype in fields]
    return tuple((name, dtype, dtype.itemsize, np.frombuffer(b"", dtype)) for name, dtype in typed)
