"""A chain of cursors that goes on with a new slate shows nothing again."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from online.columns import Bools, Candidates
from online.context import Context


class ServedInChain:
    """Stories that earlier slates of the chain have delivered or passed over. Judges candidates, not entries of a slate."""

    name: ClassVar[str] = "served_in_chain"

    def drops(self, ctx: Context, candidates: Candidates) -> Bools | None:
        """bool[n]; None: a chain begins here."""
        if ctx.chain is None:
            return None
        served = np.zeros(len(ctx.world), bool)
        served[ctx.world.by_hash.known(ctx.chain.passed)] = True
        return candidates.of(served)
