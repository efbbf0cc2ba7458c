"""Fills a list block by block with the best-ranked candidates, under shares, a floor and caps.

A block (a screenful) is filled in steps; each takes candidates one by one in rank order, under all caps:

1. floor: those of new authors, up to their minimum;
2. shares: those of every group, up to its minimum;
3. open: any, until the block is full.

What is still empty then is filled by letting go of one constraint after another, in this order:

4. the caps over today's slates;
5. the caps over this slate;
6. the publication's cap in a block;
7. the author's cap in a block.

So a group that has too little leaves its room to the best of the others before any cap gives way, and the floor, which is
taken under all caps, never breaks one. Nothing is dropped. Inside a block rank order holds, except that the entries that
a group's share guarantees are spread over it: the k-th comes at about place (k + 1) / share at the latest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from online.columns import Bools
from online.postprocessors.filling import EMPTY, REASONS, SEEN, fill_places
from online.postprocessors.limits import Caps, Integers, Limits

__all__ = ["REASONS", "Demands", "Filled", "Ranked", "fill", "warm_up"]


@dataclass(frozen=True, slots=True)
class Ranked:
    """n candidates in rank order, as the filler sees them."""

    limits: Limits
    group: Integers
    """int[n]: index into the shares."""
    is_new: Bools
    """bool[n]: by a new author."""
    pinned: Integers
    """int32[p]: positions of the candidates that have a place in the list already, by that place."""
    slots: Integers
    """int32[p], ascending: those places."""


@dataclass(frozen=True, slots=True)
class Demands:
    """What the list should be like."""

    size: int
    """Entries to be placed; the others keep their order behind them."""
    block: int
    shares: Sequence[float]
    """Minimum share of each group in a block; they add up to at most 1."""
    floor: float
    """Minimum share of new authors in a block."""


@dataclass(frozen=True, slots=True)
class Filled:
    """The list, and why it differs from the ranking."""

    order: Integers
    """int32[n]: candidates' positions, in their new order."""
    reason: Integers
    """uint8[n], by position before: code of REASONS, 0 where the candidate stands where it was ranked."""


def fill(ranked: Ranked, demands: Demands) -> Filled:
    """Every candidate once: as many as demanded in blocks, the others behind them in rank order."""
    n, pinned = len(ranked.group), len(ranked.pinned)
    is_organic = np.ones(n, bool)
    is_organic[ranked.pinned] = False
    order = np.full(n, EMPTY, np.int32)
    order[np.minimum(ranked.slots, n - pinned + np.arange(pinned))] = ranked.pinned  # no place behind the end
    seen = np.zeros(n, SEEN)
    seen["author"], seen["publication"] = ranked.limits.author, ranked.limits.publication
    seen["group"], seen["is_new"] = ranked.group, ranked.is_new
    shares, organic = np.array(demands.shares, np.float64), np.flatnonzero(is_organic).astype(np.int32)
    fill_places(
        seen, ranked.limits.room.copy(), order, organic, demands.size, demands.block, shares, float(demands.floor)
    )
    return Filled(order, seen["reason"].copy())


def warm_up() -> None:
    """Compiles the loops, or reads what was compiled before: seconds or a fraction of one, before anybody waits."""
    nobody, cap = np.zeros(0, np.int32), Caps(1, 1, 1)
    limits = Limits(nobody, nobody, (cap, cap), (nobody, nobody))
    fill(Ranked(limits, nobody, nobody.astype(bool), nobody, nobody), Demands(1, 1, (0.0,), 0.0))
