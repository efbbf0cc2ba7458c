"""What the user or the author did since the slate was built: every rule of the pipeline runs again."""

from __future__ import annotations

import numpy as np

from online.columns import Bits, Candidates
from online.context import Context
from online.protocols import Rule


class RuleStillHolds:
    """One rule of the pipeline, applied to the entries of a slate; drops under the rule's own name."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.name = rule.name

    def sources(self, ctx: Context, entries: Candidates) -> Bits | None:
        """uint32[n]: 0 where the rule now forbids the entry."""
        drops = self.rule.drops(ctx, entries)
        return None if drops is None or not np.count_nonzero(drops) else np.where(drops, np.uint32(0), entries.sources)

    def until(self, ctx: Context, entries: Candidates) -> int:
        """As the rule's."""
        return self.rule.until(ctx, entries)
