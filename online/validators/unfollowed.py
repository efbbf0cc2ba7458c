"""A story that came because of a follow goes when the follow ends.

A slate's entry came for the source that its reason names, the highest-priority one. Where that was a follow that has ended, and no
other follow holds it, the entry goes from the next page on, whatever else also brought it; the next slate may bring it again,
for a reason of its own. See docs/decisions/unfollowed.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from features.arrays import Bools
from features.raw_datasets import TARGET_TYPES
from online.columns import Bits, Candidates
from online.context import Context
from online.protocols import Timeless
from online.providers.groups import highest_priority

PUSHED_FOR = ("author", "publication")
"""A story is in a timeline because of a follow of either; it stays while one of them holds."""


class Unfollowed(Timeless):
    """Clears the source bits of follows that are no longer in force; an entry that came for one of them drops."""

    name: ClassVar[str] = "unfollowed"

    def __init__(self, bits: Mapping[str, int]) -> None:
        follows = {f"followed_{target}s": (target,) for target in TARGET_TYPES} | {"timeline": PUSHED_FOR}
        self._held_by = {np.uint32(1 << bits[name]): targets for name, targets in follows.items() if name in bits}

    def sources(self, ctx: Context, entries: Candidates) -> Bits | None:
        """uint32[n]; None: no follow has ended that brought one of them."""
        there = int(np.bitwise_or.reduce(entries.sources, initial=0))
        held_by = {bit: targets for bit, targets in self._held_by.items() if int(bit) & there}
        wanted = {target for targets in held_by.values() for target in targets}
        followed = {target: self._followed(ctx, entries, target) for target in wanted}
        sources = entries.sources
        for bit, targets in held_by.items():
            holds = followed[targets[0]] if len(targets) == 1 else followed[targets[0]] | followed[targets[1]]
            if np.count_nonzero((sources & bit > 0) & ~holds):
                sources = np.where(holds, sources, sources & ~bit)
        if sources is entries.sources:
            return None
        came_for = np.uint32(1) << highest_priority(np.maximum(entries.sources, 1)).astype(np.uint32)
        follows = np.bitwise_or.reduce(np.array(list(self._held_by), np.uint32), initial=0)
        return np.where(sources & (came_for | follows), sources, np.uint32(0))

    def _followed(self, ctx: Context, entries: Candidates, target_type: str) -> Bools:
        story_table = ctx.story_table
        marks = ctx.user.marks("follow", target_type)
        if marks is None:
            return np.zeros(len(entries), bool)
        index = {"author": story_table.author, "publication": story_table.publication, "topic": story_table.topics}[
            target_type
        ]
        hit: Bools = marks.take(index[entries.rows]) > 0
        return hit if hit.ndim == 1 else np.logical_or.reduce(hit, axis=1)
