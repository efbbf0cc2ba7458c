"""Fills a list block by block with the best-ranked candidates, under shares, a guaranteed minimum and caps.

A block (a screenful) is filled in steps; each takes candidates one by one in rank order, under all caps:

1. guaranteed minimum: those of new authors, up to their minimum;
2. shares: those of every group, up to its minimum;
3. open: any, until the block is full.

What is still empty then is filled by letting go of one constraint after another, in this order:

4. the caps over today's slates;
5. the caps over this slate;
6. the publication's cap in a block;
7. the author's cap in a block.

So a group that has too little leaves its capacity to the best of the others before any cap gives way, and the guaranteed minimum, which is
taken under all caps, never breaks one. Places for exploration stay free until the rest of the block stands; then each is
drawn at random, under all caps of the block as it stands; if there is nothing to draw, steps 3 to 7 fill it. Nothing is dropped. Inside a block rank order holds, except that the entries that
a group's share guarantees are spread over it: the k-th comes at about place (k + 1) / share at the latest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.arrays import F32, Bools
from online.postprocessors.filling import DAY, EMPTY, HELD, REASONS, SEEN, Integers, fill_places

__all__ = ["REASONS", "Caps", "Demands", "ExplorationDraws", "Filled", "Limits", "RankedCandidates", "fill", "warm_up"]

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


@dataclass(frozen=True, slots=True)
class RankedCandidates:
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
    guaranteed: float
    """Minimum share of new authors in a block."""


@dataclass(frozen=True, slots=True)
class ExplorationDraws:
    """What is drawn instead of ranked."""

    share: float
    """Of all places; the k-th (from 0) is the place (k + ½) / share, or the next of its block that is not pinned."""
    eligible: Bools
    """bool[n]."""
    only: Bools
    """bool[n]: candidates for a draw and nothing else; no candidate with a place in advance is among them."""
    random: np.random.Generator

    def places(self, size: int, block: int, taken: Integers) -> list[int]:
        """Places below `size`, ascending."""
        pinned, found = set(taken.tolist()), []
        for nth in range(math.ceil(size * self.share)):
            due = place = int((nth + 0.5) / self.share)
            while place in pinned:
                place += 1
            if place < min(size, due - due % block + block):
                found.append(place)
                pinned.add(place)
        return found


@dataclass(frozen=True, slots=True)
class Filled:
    """The list, and why it differs from the ranking."""

    order: Integers
    """int32[n]: candidates' positions, in their new order."""
    reason: Integers
    """uint8[n], by position before: code of REASONS, 0 where the candidate stands where it was ranked."""
    propensity: F32
    """float32[n], by position before: probability of its place, given all that stands above; 1 unless it was drawn."""


def fill(ranked: RankedCandidates, demands: Demands, exploration_draws: ExplorationDraws | None = None) -> Filled:
    """Every candidate once: as many as demanded in blocks, the others behind them in rank order."""
    n, pinned = len(ranked.group), len(ranked.pinned)
    is_organic = np.ones(n, bool) if exploration_draws is None else ~exploration_draws.only
    beside = n - int(np.count_nonzero(is_organic))
    is_organic[ranked.pinned] = False
    order = np.full(n, EMPTY, np.int32)
    slots = np.minimum(ranked.slots, n - beside - pinned + np.arange(pinned))  # no place behind the end
    order[slots] = ranked.pinned
    size, seen, chances = min(demands.size, n - beside), np.zeros(n, SEEN), np.empty(0)
    seen["propensity"] = 1.0
    if exploration_draws is not None:
        held = exploration_draws.places(size, demands.block, slots)
        order[held] = HELD
        seen["eligible"], chances = exploration_draws.eligible, exploration_draws.random.random(len(held))
        seen["eligible"][ranked.pinned] = False
    seen["author"], seen["publication"] = ranked.limits.author, ranked.limits.publication
    seen["group"], seen["is_new"] = ranked.group, ranked.is_new
    shares, organic = np.array(demands.shares, np.float64), np.flatnonzero(is_organic).astype(np.int32)
    capacity, guaranteed = ranked.limits.capacity.copy(), float(demands.guaranteed)
    fill_places(seen, capacity, order, organic, size, demands.block, shares, guaranteed, chances)
    if beside:
        order[order == EMPTY] = np.setdiff1d(np.arange(n), order)
    return Filled(order, seen["reason"].copy(), seen["propensity"].copy())


def warm_up() -> None:
    """Compiles the loops, or reads what was compiled before: seconds or a fraction of one, before anybody waits."""
    nobody, cap = np.zeros(0, np.int32), Caps(1, 1, 1)
    limits = Limits(nobody, nobody, (cap, cap), (nobody, nobody))
    fill(RankedCandidates(limits, nobody, nobody.astype(bool), nobody, nobody), Demands(1, 1, (0.0,), 0.0))
