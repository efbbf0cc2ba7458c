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

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from online.columns import Bools, occurrence
from online.postprocessors.limits import InForce, Integers, Limits, less, one_by_one

FIRST_LOOK = 3
"""Candidates looked at first per place to be filled; where they do not suffice, four times as many."""
RELAXATIONS = (
    InForce(day=False),
    InForce(day=False, slate=False),
    InForce(day=False, slate=False, publication=False),
    InForce(day=False, slate=False, publication=False, author=False),
)
"""Steps 4 to 7."""
REASONS = ("", "floor", "share", "made_room", "author_cap", "publication_cap", "gave_way", "spread")
"""Why an entry does not stand where it was ranked: code → name. What comes to stand higher: floor, share or made_room
(others were held back). What comes to stand lower: a cap, or gave_way to a floor or share. `spread`: inside its block."""
_, FLOOR, SHARE, MADE_ROOM, AUTHOR_CAP, PUBLICATION_CAP, GAVE_WAY, SPREAD = range(len(REASONS))


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
    n = len(ranked.group)
    organic = np.delete(np.arange(n, dtype=np.int32), ranked.pinned)
    slots = np.minimum(ranked.slots, len(organic) + np.arange(len(ranked.pinned)))  # no place behind the end
    filler = _Filler(ranked, demands, organic)
    for start in range(0, min(demands.size, n), demands.block):
        end = min(start + demands.block, demands.size, n)
        filler.fill_block(end - start, ranked.pinned[(slots >= start) & (slots < end)])
    order = np.concatenate((_spread(filler), organic[filler.free[organic]]))
    return Filled(np.insert(order, slots - np.arange(len(slots)), ranked.pinned), _reasons(filler, order))


class _Filler:
    """What is left while blocks are filled."""

    def __init__(self, ranked: Ranked, demands: Demands, organic: Integers) -> None:
        """`organic`: int32[m], candidates without a place in advance, in rank order."""
        n = len(ranked.group)
        self.ranked, self.demands, self.organic = ranked, demands, organic
        self.blocks: list[Integers] = []  # int32[places] each, in rank order
        self.step = np.zeros(n, np.uint8)  # FLOOR, SHARE or MADE_ROOM, as it was taken
        self.late = np.zeros(n, np.uint8)  # why it is not in the block in which it was ranked
        self.free = np.ones(n, bool)
        self.free[ranked.pinned] = False
        keys = ranked.limits.keys
        self._keys = np.vstack((keys, ranked.group + keys.max(initial=-1) + 1)).astype(np.int16)
        self._by_group = organic[np.argsort(ranked.group[organic], kind="stable")]
        self._starts = np.searchsorted(ranked.group[self._by_group], np.arange(len(demands.shares) + 1))
        self._new = organic[ranked.is_new[organic]]
        self._floored: list[int] = []  # groups of those that the floor brought into this block
        self._passed = 0  # organic ones in the blocks so far

    def fill_block(self, size: int, pinned: Integers) -> None:
        """Another block of `size` entries, `pinned` among them."""
        places, limits = size - len(pinned), self.ranked.limits
        natural = self.organic[self._passed : self._passed + places]
        here, room = pinned, limits.room(pinned, InForce())
        fit = self._fit(room)
        for step in (self._floor, self._shares, self._open):
            here, room = step(fit & self.free, size - len(here), here, room)
        missed = natural[self.free[natural]]
        self.late[missed] = self._why_late(missed, room)
        for caps in RELAXATIONS:
            if len(here) < size:
                room = limits.room(here, caps)
                here, _ = self._open(self._fit(room), size - len(here), here, room)
        limits.finish(here)
        self._passed += places
        self.blocks.append(np.sort(here[len(pinned) :]))

    def _floor(self, fit: Bools, places: int, here: Integers, room: Integers) -> tuple[Integers, Integers]:
        wanted = min(math.ceil(self.demands.floor * places - 1e-9), places)
        new = self._new[fit[self._new]] if wanted else self._new[:0]
        found = self._first(new, wanted, room)
        self._floored = self.ranked.group[found].tolist()
        return self._taken(found, FLOOR, here, room)

    def _shares(self, fit: Bools, places: int, here: Integers, room: Integers) -> tuple[Integers, Integers]:
        """One by one in rank order over all groups, each up to its share; who has a place already counts."""
        quotas, left = [], places
        for group, quota in enumerate(_quotas(self.demands, places + len(self._floored)).tolist()):
            quotas.append(min(max(quota - self._floored.count(group), 0), left))
            left -= quotas[-1]
        at = self._by_group[fit[self._by_group]]
        return self._taken(self._first_of_groups(at, quotas, room), SHARE, here, room)

    def _open(self, fit: Bools, places: int, here: Integers, room: Integers) -> tuple[Integers, Integers]:
        return self._taken(self._first(np.flatnonzero(fit), places, room), MADE_ROOM, here, room)

    def _fit(self, room: Integers) -> Bools:
        """bool[n]: without a place yet, and there is room for it."""
        has_room, (author, publication) = room > 0, self.ranked.limits.keys
        fit: Bools = self.free & has_room[author] & has_room[publication]
        return fit

    def _first(self, at: Integers, wanted: int, room: Integers) -> Integers:
        """The first `wanted` of `at` (in rank order, each with room by itself) that fit when taken one by one."""
        look = FIRST_LOOK * wanted if wanted > 1 else 1
        while True:
            found = at[:look][one_by_one(self.ranked.limits.keys[:, at[:look]], room)][:wanted]
            if len(found) == wanted or look >= len(at):
                return found
            look *= 4

    def _first_of_groups(self, at: Integers, quotas: list[int], room: Integers) -> Integers:
        """Those of `at` (by group, then rank) that fit when they are taken one by one in rank order, up to the quotas."""
        if not any(quotas):
            return at[:0]
        group, groups = self.ranked.group, range(len(quotas))
        starts = np.searchsorted(group[at], np.arange(len(quotas) + 1)).tolist()
        looks = [FIRST_LOOK * quota for quota in quotas]
        while True:
            ends = [min(starts[g] + looks[g], starts[g + 1]) for g in groups]
            front = np.sort(np.concatenate([at[starts[g] : ends[g]] for g in groups]))
            found = front[one_by_one(self._keys[:, front], np.concatenate((room, quotas)))]
            got = np.bincount(group[found], minlength=len(quotas)).tolist()
            short = [got[g] < quotas[g] and ends[g] < starts[g + 1] for g in groups]
            if not any(short):
                return found
            looks = [4 * look if more else look for look, more in zip(looks, short, strict=True)]

    def _taken(self, found: Integers, step: int, here: Integers, room: Integers) -> tuple[Integers, Integers]:
        """`here` with `found`, and what room they leave."""
        if not len(found):
            return here, room
        self.free[found], self.step[found] = False, step
        return np.concatenate((here, found)), less(room, self.ranked.limits.keys[:, found])

    def _why_late(self, at: Integers, room: Integers) -> Integers:
        """uint8[m]: what kept those at `at` out of a block that leaves this room."""
        author_full, publication_full = room[self.ranked.limits.keys[:, at]] <= 0
        return np.where(author_full, AUTHOR_CAP, np.where(publication_full, PUBLICATION_CAP, GAVE_WAY))


def _quotas(demands: Demands, places: int) -> Integers:
    """int[groups]: entries guaranteed to each group; together no more than there are places."""
    return np.floor(np.asarray(demands.shares) * places + 1e-9).astype(int)


def _spread(filler: _Filler) -> Integers:
    """int32[placed]: what the blocks hold, in its final order."""
    if not filler.blocks:
        return filler.organic[:0]
    demands, group = filler.demands, filler.ranked.group
    sizes = np.array([len(block) for block in filler.blocks])
    at, block = np.concatenate(filler.blocks), np.repeat(np.arange(len(sizes)), sizes)
    rank = np.arange(len(at)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    nth = occurrence(block * len(demands.shares) + group[at])
    quota = np.array([_quotas(demands, size) for size in sizes])[block, group[at]]
    due = np.ceil((nth + 1) * sizes[block] / np.maximum(quota, 1)).astype(int) - 1
    forced = np.flatnonzero((nth < quota) & (rank > due))
    forced = forced[np.lexsort((rank[forced], due[forced], block[forced]))]
    after = rank - _counts_before(forced, block, len(at))  # how many of the others stand before each, in its block
    after[forced] = due[forced] - occurrence(block[forced])
    late = np.ones(len(at), bool)
    late[forced] = False
    return at[np.lexsort((rank, due, late, after, block))]


def _counts_before(forced: Integers, block: Integers, n: int) -> Integers:
    """int[n]: how many of `forced` stand before each in rank order, in the same block."""
    marks = np.zeros(n, int)
    marks[forced] = 1
    before = np.cumsum(marks) - marks
    starts = np.searchsorted(block, block, "left")
    return before - before[starts]


def _reasons(filler: _Filler, order: Integers) -> Integers:
    """uint8[n], see REASONS, from where each candidate stands among the organic ones before and after."""
    n = len(filler.free)
    ends = np.cumsum([len(block) for block in filler.blocks])
    before, after = np.zeros(n, int), np.zeros(n, int)
    before[filler.organic] = after[order] = np.arange(len(order))
    came_from, stands_in = np.searchsorted(ends, before, "right"), np.searchsorted(ends, after, "right")
    reason = np.where((before == after) | (came_from == len(ends)), 0, SPREAD)
    reason = np.where(stands_in < came_from, filler.step, reason)
    return np.where(stands_in > came_from, filler.late, reason).astype(np.uint8)
