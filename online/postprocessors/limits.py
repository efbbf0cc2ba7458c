"""How many entries of each author and of each publication may still be taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.integer[Any]]

BLOCK, SLATE, DAY = range(3)
"""Columns of `capacity`."""
MANY = 1 << 20
"""Room without a limit; no list is as long."""


@dataclass(frozen=True, slots=True)
class Caps:
    """Entries of one author, or of one publication."""

    block: int
    slate: int
    day: int
    """Over all slates of a UTC day."""


class Limits:
    """The caps over n candidates, and what counts against them. Who has no author or publication is not capped by it."""

    def __init__(
        self, author: Integers, publication: Integers, caps: tuple[Caps, Caps], served: tuple[Integers, Integers]
    ) -> None:
        """`author`, `publication`: int32[n]; `caps` and `served` of both: the keys of what other slates answered today."""
        authors, of_author = np.unique(author, return_inverse=True)
        publications, of_publication = np.unique(publication, return_inverse=True)
        self.author, self.publication = of_author, of_publication + len(authors)
        """int[n]: rows of `capacity`."""
        self.capacity = np.concatenate(
            (_capacity(authors, caps[0], served[0]), _capacity(publications, caps[1], served[1]))
        )
        """int32[keys, 3]: entries that a block, the slate and the day may hold."""


def _capacity(distinct: Integers, caps: Caps, served: Integers) -> Integers:
    """int32[keys, 3] of ascending keys; -1: none, and no cap."""
    capacity = np.empty((len(distinct), 3), np.int32)
    capacity[:] = np.minimum((caps.block, caps.slate, caps.day), MANY)
    ascending = np.sort(served)
    capacity[:, DAY] -= np.searchsorted(ascending, distinct, "right") - np.searchsorted(ascending, distinct, "left")
    capacity[distinct < 0] = MANY
    return capacity
