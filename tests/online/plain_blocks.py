"""Filling blocks as one would write it down, without arrays and early ends. Slow; what the compiled filler is held to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from online.postprocessors.blocks import Caps, Demands


@dataclass(frozen=True)
class InForce:
    """Which caps hold while candidates are taken."""

    day: bool = True
    slate: bool = True
    publication: bool = True
    author: bool = True


ALL = InForce()
RELAXATIONS = (
    InForce(day=False),
    InForce(day=False, slate=False),
    InForce(day=False, slate=False, publication=False),
    InForce(day=False, slate=False, publication=False, author=False),
)


@dataclass(frozen=True)
class Entry:
    """A candidate; -1: no author, no publication."""

    author: int
    publication: int
    group: int
    is_new: bool = False
    slot: int = -1
    """A place it has in advance; -1: none."""


@dataclass
class PlainFiller:
    """The list's blocks, each as the candidates' numbers in rank order, promoted ones apart."""

    entries: Sequence[Entry]
    caps: tuple[Caps, Caps]
    today: tuple[Counter[int], Counter[int]]
    demands: Demands
    blocks: list[list[int]] = field(default_factory=list)

    def fill(self) -> list[list[int]]:
        """The organic candidates of every block, in rank order."""
        pinned = sorted((e.slot, i) for i, e in enumerate(self.entries) if e.slot >= 0)
        organic = len(self.entries) - len(pinned)
        places = {min(slot, organic + nth): i for nth, (slot, i) in enumerate(pinned)}
        total = min(self.demands.size, len(self.entries))
        self.placed: list[int] = []
        self.left = [i for i, e in enumerate(self.entries) if e.slot < 0]
        for start in range(0, total, self.demands.block):
            end = min(start + self.demands.block, total)
            fixed = [places[place] for place in range(start, end) if place in places]
            self._block(end - start, fixed)
        return self.blocks

    def _block(self, size: int, fixed: list[int]) -> None:
        self.here = list(fixed)
        places = size - len(fixed)
        new = lambda e: e.is_new  # noqa: E731
        self._take(new, min(math.ceil(self.demands.guaranteed * places - 1e-9), places), size)
        quota = [math.floor(share * places + 1e-9) for share in self.demands.shares]
        self._take_shares(quota, fixed, size)
        for caps in (ALL, *RELAXATIONS):
            self._take(lambda e: True, size, size, caps)
        self.placed += self.here
        self.blocks.append(sorted(set(self.here) - set(fixed)))

    def _take(self, wanted: Callable[[Entry], bool], most: int, size: int, caps: InForce = ALL) -> None:
        for i in list(self.left):
            if most and len(self.here) < size and wanted(self.entries[i]) and self._fits(i, caps):
                self._put(i)
                most -= 1

    def _take_shares(self, quota: list[int], fixed: list[int], size: int) -> None:
        there = Counter(self.entries[i].group for i in self.here if i not in fixed)
        left = [max(most - there[group], 0) for group, most in enumerate(quota)]
        capacity = size - len(self.here)
        for group, most in enumerate(left):  # together no more than there are places
            left[group] = min(most, capacity)
            capacity -= left[group]
        for i in list(self.left):
            group = self.entries[i].group
            if left[group] and self._fits(i, ALL):
                self._put(i)
                left[group] -= 1

    def _put(self, i: int) -> None:
        self.here.append(i)
        self.left.remove(i)

    def _fits(self, i: int, caps: InForce) -> bool:
        keys = self.entries[i].author, self.entries[i].publication
        return all(
            key < 0 or self._under(which, key, caps, caps.author if which == 0 else caps.publication)
            for which, key in enumerate(keys)
        )

    def _under(self, which: int, key: int, caps: InForce, in_block: bool) -> bool:
        has = lambda i: (self.entries[i].author, self.entries[i].publication)[which] == key  # noqa: E731
        here, before = sum(map(has, self.here)), sum(map(has, self.placed))
        most = self.caps[which]
        return (
            (not in_block or here < most.block)
            and (not caps.slate or before + here < most.slate)
            and (not caps.day or self.today[which][key] + before + here < most.day)
        )
