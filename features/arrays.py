"""Types of arrays: how wide their numbers are, and what the two commonest kinds of int64 mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

Hashes = I64
"""64-bit hashes of ids (`features.keys.hash64`)."""
Micros = I64
"""Moments in microseconds since 1970, UTC."""
