"""How well an order of stories predicts what is read: the discounted place of what was wanted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def gain(places: NDArray[np.int64]) -> Doubles:
    """1 / log2(place + 2), place 0 on top: int64[p] → float64[p]. NDCG of one wanted story (Järvelin, Kekäläinen 2002)."""
    return 1.0 / np.log2(places + 2.0)


def places_among(wanted: Doubles, others: Doubles) -> NDArray[np.int64]:
    """How many of the others stand above each: float64[p], float64[p, k] → int64[p]. Of equals half count."""
    above = (others > wanted[:, None]).sum(axis=1) + (others == wanted[:, None]).sum(axis=1) // 2
    return above.astype(np.int64)


def places_in(scores: Doubles) -> NDArray[np.int64]:
    """Place of each entry, greatest first, the later of equals first: float64[n] → int64[n]."""
    order = np.lexsort((-np.arange(len(scores)), -scores))
    places = np.empty(len(scores), np.int64)
    places[order] = np.arange(len(scores))
    return places
