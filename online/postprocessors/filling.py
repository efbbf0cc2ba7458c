"""The loops of blocks.py, which take candidates one by one: compiled, for a list takes some ten thousand looks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.arrays import F64
from features.compiled import compiled, part

Integers = NDArray[np.integer[Any]]
BLOCK, SLATE, DAY = range(3)
"""Columns of `capacity`: what a block, the slate and the day may still hold of an author or a publication."""

EMPTY = -1
"""A place without a candidate yet."""
HELD = -2
"""A place that is to be drawn at random."""
REASONS = ("", "guaranteed", "share", "filled_up", "author_cap", "publication_cap", "gave_way", "spread", "explored")
"""Why an entry does not stand where it was ranked: code → name. What comes to stand higher: guaranteed minimum, share or filled up
(others were held back), explored (drawn at random). What comes to stand lower: a cap, or gave_way to a guaranteed minimum or share. `spread`: inside its block."""
IN_PLACE, GUARANTEED, SHARE, FILLED_UP, AUTHOR_CAP, PUBLICATION_CAP, GAVE_WAY, SPREAD, EXPLORED = range(len(REASONS))
WAITING = 0
"""Not taken by any step."""
RELAXATIONS = 4
"""Kinds of caps, in the order in which they are let go: today's, the slate's, the publication's and the author's in a block."""
EPSILON = 1e-9
"""0.3 of 10 places are 3 places, also where floating point makes a little less or more of it."""


SEEN = np.dtype(
    [
        *(
            ("author", "<i4"),
            ("publication", "<i4"),
            ("group", "<i2"),
            ("is_new", "?"),
            ("taken", "u1"),
            ("reason", "u1"),
        ),
        *(("eligible", "?"), ("propensity", "<f4")),
    ]
)
"""A candidate: rows of `capacity`; index into the shares; whether by a new author; the step that took it, or WAITING; a code of
REASONS; whether it may be drawn; the probability with which it was, else 1."""
Seen = NDArray[np.void]
"""SEEN[n], in rank order."""


@compiled
def fill_places(
    seen: Seen,
    capacity: Integers,
    order: Integers,
    organic: Integers,
    size: int,
    block: int,
    shares: F64,
    guaranteed: float,
    chances: F64,
) -> None:
    """Puts `organic`, int32[m] ascending, where `order`, int32[n], is EMPTY: `size` places in blocks, the others by rank.

    Where it is HELD, one that is eligible: `chances`, float64 in [0, 1), say which, one for each such place.
    """
    in_block, left, passed, drawn = capacity[:, BLOCK].copy(), organic, 0, 0
    for start in range(0, min(size, len(order)), block):
        places = order[start : min(start + block, size)]
        for key in range(len(in_block)):
            capacity[key, BLOCK] = in_block[key]
        wanted = _count_pinned(seen, capacity, places)
        natural = organic[passed : passed + wanted]  # who would be here by rank alone
        quota = np.empty(len(shares), np.int32)
        for group in range(len(shares)):
            quota[group] = int(shares[group] * wanted + EPSILON)
        _take_block(seen, capacity, left, natural, quota, math.ceil(guaranteed * wanted - EPSILON))
        taken, left = _parted(seen, left, wanted)
        taken = _spread(seen, taken, quota)
        _note_moves(seen, taken, natural)
        _put(places, taken)
        passed += wanted
        if len(chances):
            drawn = _draw(seen, capacity, places, chances, drawn)
            passed += _fill_up(seen, capacity, places, left)
            left, organic = _by_step(seen, left, WAITING, True), _by_step(seen, organic, EXPLORED, False)
    _put(order, left)


@part
def _draw(seen: Seen, capacity: Integers, places: Integers, chances: F64, drawn: int) -> int:
    """Fills the HELD places, EMPTY where nothing has capacity; how many chances are used up, `drawn` of them before."""
    may = np.empty(len(seen), np.int32)
    for place in range(len(places)):
        if places[place] != HELD:
            continue
        m = 0
        for i in range(len(seen)):
            if seen[i].eligible and _fits(seen, capacity, i, 0):
                may[m] = i
                m += 1
        places[place] = EMPTY
        if m:
            one = may[int(chances[drawn] * m)]
            seen[one].taken, seen[one].reason, seen[one].propensity = EXPLORED, EXPLORED, 1 / m
            _count(seen, capacity, one)
            places[place] = one
        drawn += 1
    return drawn


@part
def _fill_up(seen: Seen, capacity: Integers, places: Integers, left: Integers) -> int:
    """Takes any of `left` where there was nothing to draw; how many."""
    short = 0
    for i in places:
        short += i == EMPTY
    wanted = short
    for relaxation in range(RELAXATIONS + 1):
        wanted -= _take_any(seen, capacity, left, wanted, relaxation)
    if short:
        _put(places, _by_step(seen, left, FILLED_UP, True))
    return short


@part
def _by_step(seen: Seen, these: Integers, taken: int, wanted: bool) -> Integers:
    """Those of `these` which that step took, or those that it did not."""
    out, n = np.empty(len(these), np.int32), 0
    for i in these:
        if (seen[i].taken == taken) == wanted:
            out[n] = i
            n += 1
    return out[:n]


@part
def _take_block(seen: Seen, capacity: Integers, left: Integers, natural: Integers, quota: Integers, new: int) -> None:
    """Takes as many of `left` as there are `natural` ones, in the steps that blocks.py states."""
    wanted, due = len(natural), quota.copy()
    wanted -= _take_new(seen, capacity, left, min(new, wanted), due)
    places = wanted
    for group in range(len(due)):
        due[group] = min(max(due[group], 0), places)
        places -= due[group]
    wanted -= _take_shares(seen, capacity, left, due)
    for relaxation in range(RELAXATIONS + 1):
        wanted -= _take_any(seen, capacity, left, wanted, relaxation)
        if relaxation == 0:
            _note_late(seen, capacity, natural)


@part
def _take_new(seen: Seen, capacity: Integers, left: Integers, most: int, due: Integers) -> int:
    """How many by new authors were taken; they count for the shares."""
    taken = 0
    for i in left:
        if taken == most:
            break
        if seen[i].is_new and _fits(seen, capacity, i, 0):
            seen[i].taken = GUARANTEED
            _count(seen, capacity, i)
            due[seen[i].group] -= 1
            taken += 1
    return taken


@part
def _take_shares(seen: Seen, capacity: Integers, left: Integers, due: Integers) -> int:
    """How many were taken, of each group up to what is due to it."""
    taken, most = 0, 0
    for group in range(len(due)):
        most += due[group]
    for i in left:
        if taken == most:
            break
        if due[seen[i].group] > 0 and _fits(seen, capacity, i, 0):
            seen[i].taken = SHARE
            _count(seen, capacity, i)
            due[seen[i].group] -= 1
            taken += 1
    return taken


@part
def _take_any(seen: Seen, capacity: Integers, left: Integers, most: int, relaxation: int) -> int:
    """How many were taken, all caps but the first `relaxation` kinds being in force."""
    taken = 0
    for i in left:
        if taken == most:
            break
        if _fits(seen, capacity, i, relaxation):
            seen[i].taken = FILLED_UP
            _count(seen, capacity, i)
            taken += 1
    return taken


@part
def _fits(seen: Seen, capacity: Integers, i: int, relaxation: int) -> bool:
    """Whether a candidate waits, and all caps but the first `relaxation` kinds have capacity for it."""
    author, publication = seen[i].author, seen[i].publication
    return (
        seen[i].taken == WAITING
        and (relaxation >= 1 or (capacity[author, DAY] > 0 and capacity[publication, DAY] > 0))
        and (relaxation >= 2 or (capacity[author, SLATE] > 0 and capacity[publication, SLATE] > 0))
        and (relaxation >= 3 or capacity[publication, BLOCK] > 0)
        and (relaxation >= 4 or capacity[author, BLOCK] > 0)
    )


@part
def _count(seen: Seen, capacity: Integers, i: int) -> None:
    """One place less for the author and the publication, in the block, the slate and the day."""
    for key in (seen[i].author, seen[i].publication):
        for cap in (BLOCK, SLATE, DAY):
            capacity[key, cap] -= 1


@part
def _count_pinned(seen: Seen, capacity: Integers, places: Integers) -> int:
    """Counts those who have a place already; how many places are left."""
    empty = 0
    for i in places:
        if i == EMPTY:
            empty += 1
        elif i != HELD:
            _count(seen, capacity, i)
    return empty


@part
def _note_late(seen: Seen, capacity: Integers, natural: Integers) -> None:
    """Notes what keeps those who are not taken out of the block in which they were ranked."""
    for i in natural:
        if seen[i].taken == WAITING:
            seen[i].reason = GAVE_WAY
            for cap in (BLOCK, SLATE, DAY):
                if capacity[seen[i].author, cap] <= 0:
                    seen[i].reason = AUTHOR_CAP
                elif capacity[seen[i].publication, cap] <= 0 and seen[i].reason != AUTHOR_CAP:
                    seen[i].reason = PUBLICATION_CAP


@part
def _parted(seen: Seen, left: Integers, wanted: int) -> tuple[Integers, Integers]:
    """The `wanted` ones that were taken, and the others."""
    taken, others = np.empty(wanted, np.int32), np.empty(len(left) - wanted, np.int32)
    n = 0
    for at in range(len(left)):
        if seen[left[at]].taken == WAITING:
            others[at - n] = left[at]
        else:
            taken[n] = left[at]
            n += 1
    return taken, others


@part
def _spread(seen: Seen, taken: Integers, quota: Integers) -> Integers:
    """A block in its final order: at each place the best of the groups whose next guaranteed entry is due, else of all."""
    is_placed, out = np.zeros(len(taken), np.bool_), np.empty(len(taken), np.int32)
    got = np.zeros(len(quota), np.int32)
    for place in range(len(taken)):
        chosen = -1
        for at in range(len(taken)):
            if not is_placed[at]:
                group = seen[taken[at]].group
                if got[group] < quota[group] and (got[group] + 1) * len(taken) <= (place + 1) * quota[group]:
                    chosen = at
                    break
                chosen = at if chosen < 0 else chosen
        is_placed[chosen] = True
        got[seen[taken[chosen]].group] += 1
        out[place] = taken[chosen]
    return out


@part
def _note_moves(seen: Seen, taken: Integers, natural: Integers) -> None:
    """Notes why those who stand in a block now were not ranked there; who comes late has been told why."""
    for at in range(len(taken)):
        i = taken[at]
        if i > natural[-1]:
            seen[i].reason = seen[i].taken
        elif i >= natural[0]:
            seen[i].reason = IN_PLACE if i == natural[at] else SPREAD


@part
def _put(places: Integers, these: Integers) -> None:
    """Each into the next empty place."""
    n = 0
    for place in range(len(places)):
        if places[place] == EMPTY and n < len(these):
            places[place] = these[n]
            n += 1
