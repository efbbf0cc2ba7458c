"""Withdrawn stories disappear at once."""

from __future__ import annotations

from typing import ClassVar

from features.arrays import Bools
from online.columns import Candidates
from online.context import Context
from online.protocols import Timeless


class Withdrawn(Timeless):
    """Withdrawals since the snapshot; earlier ones are not in it."""

    name: ClassVar[str] = "withdrawn"

    def drops(self, ctx: Context, candidates: Candidates) -> Bools | None:
        """bool[n]."""
        withdrawn = ctx.story_table.withdrawn
        return None if withdrawn is None else candidates.of(withdrawn)
