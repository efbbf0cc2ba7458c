"""Promoted stories take declared slots.

Running promotions whose stories passed every rule are placed by priority, then promotion_id: each at most once in a slate
and `daily_cap_per_user` times a UTC day. Neither the same story nor a near-duplicate stands in the list a second time; a
promotion without a slot leaves its story to the ranking, if another provider brought it too.
"""

from __future__ import annotations

import numpy as np

from features.arrays import I32, Hashes
from online.columns import Candidates
from online.context import Context
from online.postprocessors.filling import Integers
from online.slates.slate import ORGANIC

NO_SLOT = -1
"""In the column `slot`: wherever the ranking puts it."""


class PlacePromoted:
    """As a selector keeps the promoted entries, as a postprocessor puts the promoted entries first, marked with the columns `promotion` (hash) and `slot`; blending puts them at their slots."""

    name = "promoted"

    def also(self, ctx: Context, scored: Candidates, kept: I32) -> I32:
        """Those that came as promoted: a slot does not depend on the score."""
        if self.name not in ctx.bits or not len(ctx.story_table.promotions):
            return kept[:0]
        promoted = np.flatnonzero(scored.sources & np.uint32(1 << ctx.bits[self.name]))
        return np.setdiff1d(promoted.astype(np.int32), kept)

    def apply(self, ctx: Context, ranked: Candidates) -> Candidates:
        """The placed ones by slot, then the others in their order; those that came as promoted only are left out."""
        if self.name not in ctx.bits or not len(ctx.story_table.promotions):
            return ranked
        bit, key = np.uint32(1 << ctx.bits[self.name]), ranked.of(ctx.story_table.duplicate_key)
        which, at = _admitted(ctx, ranked, np.flatnonzero(ranked.sources & bit), key)
        organic = (ranked.sources & ~bit) != 0
        slots = _slots(ctx, len(np.setdiff1d(key[organic], key[at])), len(which))
        which, at = which[: len(slots)], at[: len(slots)]
        organic[at] = False
        sources = np.where(organic, ranked.sources & ~bit, ranked.sources)
        columns = ranked.columns | (_marks(ctx, len(ranked), which, at, slots) if len(at) else {})
        placed = np.zeros(len(ranked), np.uint8)
        placed[at] = 1
        after = Candidates(ranked.rows, sources, columns).take(np.concatenate((at, np.flatnonzero(organic))))
        ctx.trace.displaced(self.name, ranked, after, placed, ("", self.name))
        return after


def _marks(ctx: Context, n: int, which: Integers, at: Integers, slots: Integers) -> dict[str, Integers]:
    """Column `promotion`, int64[n], and column `slot`, int32[n]."""
    promotion, slot = np.full(n, ORGANIC, np.int64), np.full(n, NO_SLOT, np.int32)
    promotion[at], slot[at] = ctx.story_table.promotions.hashes[which], slots
    return {"promotion": promotion, "slot": slot}


def _admitted(ctx: Context, ranked: Candidates, brought: Integers, key: Hashes) -> tuple[Integers, Integers]:
    """Promotions that may have a slot, first choice first, and where in `ranked` their stories are.

    `brought`: positions of those that came as promoted; `key`: every candidate's duplicate_key, of which each counts once.
    """
    promotions = ctx.story_table.promotions
    fit = np.flatnonzero(promotions.running(ctx.now_us) & promotions.under_cap(ctx.build_inputs.promoted))
    wanted = ctx.story_table.current(promotions.rows[fit])
    # `first`: of equal ones in `wanted`.
    _, place, first = np.intersect1d(ranked.rows.take(brought), wanted, return_indices=True)
    order = np.argsort(first)
    at, first = brought.take(place[order]), first[order]
    _, of_key = np.unique(key[at], return_index=True)
    once = np.sort(of_key)
    return fit[first[once]], at[once]


def _slots(ctx: Context, organic: int, wanted: int) -> Integers:
    """int32[≤ wanted]: slots of the slate, ascending, as far as a list of `organic` other entries reaches."""
    size, place = ctx.settings.cache.slate_size, ctx.settings.postprocess
    blocks = np.arange(0, size, place.page_block)
    inside = np.array([slot for slot in place.promoted_slots if slot < place.page_block], np.int64)
    slots = np.sort((blocks[:, None] + inside).ravel())
    slots = slots[slots < size][: min(wanted, place.max_promoted)]
    return slots[slots <= organic + np.arange(len(slots))].astype(np.int32)
