"""A chain of cursors that goes on with a new slate shows nothing that came after the chain began."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from online.columns import Bools, Candidates
from online.context import Context


class NewerThanChain:
    """Stories above the chain's watermark: published later, or brought only by later entries of the timeline.

    They show as `new_count` on a first page, never in the middle of a chain.
    """

    name: ClassVar[str] = "newer_than_chain"

    def drops(self, ctx: Context, candidates: Candidates) -> Bools | None:
        """bool[n]; None: a chain begins here."""
        if ctx.chain is None:
            return None
        mark = ctx.chain.watermark
        newer = np.zeros(len(ctx.world), bool)
        newer[ctx.world.newer_than(mark.published_us, mark.story_id, ctx.now_us)] = True
        drops = candidates.of(newer)
        return drops | self._pushed_later(ctx, candidates)

    def _pushed_later(self, ctx: Context, candidates: Candidates) -> Bools:
        """bool[n]: brought by the timeline alone, in an entry made after the chain began."""
        assert ctx.chain is not None
        later = np.zeros(len(ctx.world), bool)
        timeline, seq = ctx.reading.timeline, ctx.chain.watermark.seq
        if timeline is None or not seq:
            return candidates.of(later)
        entries = timeline.entries[timeline.entries["seq"] > seq]
        later[ctx.world.by_hash.known(np.ascontiguousarray(entries["story"]))] = True
        only = candidates.sources == np.uint32(1 << ctx.bits["timeline"]) if "timeline" in ctx.bits else False
        return candidates.of(later) & only
