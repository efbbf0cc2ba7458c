"""A story that came because of a follow loses that reason when the follow ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from features.raw_datasets import TARGET_TYPES
from online.columns import Bits, Bools, Candidates
from online.context import Context


class Unfollowed:
    """Clears the source bits of follows that are no longer in force; an entry without any source left drops."""

    name: ClassVar[str] = "unfollowed"

    def __init__(self, bits: Mapping[str, int]) -> None:
        providers = {target: f"followed_{target}s" for target in TARGET_TYPES}
        self._bits = {target: np.uint32(1 << bits[name]) for target, name in providers.items() if name in bits}

    def sources(self, ctx: Context, entries: Candidates) -> Bits:
        """uint32[n]."""
        sources = entries.sources.copy()
        for target_type, bit in self._bits.items():
            sources &= np.where(self._followed(ctx, entries, target_type), ~np.uint32(0), ~bit)
        return sources

    def _followed(self, ctx: Context, entries: Candidates, target_type: str) -> Bools:
        world = ctx.world
        marks = ctx.person.marks("follow", target_type)
        if marks is None:
            return np.zeros(len(entries), bool)
        index = {"author": world.author, "publication": world.publication, "topic": world.topics}[target_type]
        hit: Bools = marks.take(entries.of(index)) > 0
        return hit if hit.ndim == 1 else np.any(hit, axis=1)
