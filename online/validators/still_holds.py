"""What the user or the author did since a slate was built: every rule of the pipeline runs again, and every source is asked again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from online.columns import Bits, Candidates
from online.context import Context
from online.protocols import Provider, Rule, Timeless


class RuleStillHolds:
    """One rule of the pipeline, applied to the entries of a slate; drops under the rule's own name."""

    def __init__(self, rule: Rule) -> None:
        self.name = rule.name
        self.until = rule.until
        self._drops = rule.drops

    def sources(self, ctx: Context, entries: Candidates) -> Bits | None:
        """uint32[n]: 0 where the rule now forbids the entry."""
        drops = self._drops(ctx, entries)
        return None if drops is None or not np.count_nonzero(drops) else np.where(drops, np.uint32(0), entries.sources)


class SourceStillHolds(Timeless):
    """Clears the bits of sources that hold no longer, such as follows that have ended.

    An entry came for the source that its reason names, the first. Where that one holds no longer, the entry drops, whatever
    brought it besides, unless another source that was asked, and can end too, holds; the next slate may bring it again, for a
    reason of its own. See docs/decisions/unfollowed.md.
    """

    name = "source_ended"

    def __init__(self, providers: Sequence[Provider]) -> None:
        self._providers = providers

    def sources(self, ctx: Context, entries: Candidates) -> Bits | None:
        """uint32[n]; None: no source has ended that brought one of them."""
        there = int(np.bitwise_or.reduce(entries.sources, initial=0))
        sources, can_end = entries.sources, np.uint32(0)
        for number, provider in enumerate(self._providers):
            bit = np.uint32(1 << number)
            if not there & int(bit) or (holds := provider.holds(ctx, entries)) is None:
                continue
            can_end |= bit
            if np.count_nonzero((sources & bit > 0) & ~holds):
                sources = np.where(holds, sources, sources & ~bit)
        if sources is entries.sources:
            return None
        came_for = entries.sources & (~entries.sources + np.uint32(1))
        return np.where(sources & (came_for | can_end), sources, np.uint32(0))
