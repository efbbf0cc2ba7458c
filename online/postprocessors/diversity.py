"""No author and no publication dominates: caps in every block of a screenful.

When the caps leave a block short, it is filled up at its end by relaxing them in this order: first the publication's,
then the author's. Nothing is dropped.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from online.columns import Bools, Candidates, Ints, occurrence
from online.context import Context

LOOK_AHEAD = 8
"""Blocks looked ahead first; only a list that one author or publication fills needs to look at everything."""


class Diversity:
    """Fills block after block with the best-ranked stories that the caps admit, as if taken one by one."""

    name: ClassVar[str] = "diversity"

    def apply(self, ctx: Context, ranked: Candidates) -> Candidates:
        """All candidates, reordered as far as the slate reaches; what cannot get into it keeps its order behind."""
        author, publication = ranked.of(ctx.world.author), ranked.of(ctx.world.publication)
        left = np.arange(len(ranked), dtype=np.int32)
        order = []
        for _ in range(0, min(len(ranked), ctx.settings.slate_size), ctx.settings.page_block):
            chosen = self._block(ctx, author[left], publication[left])
            order.append(left[chosen])
            left = np.delete(left, chosen)
        return ranked.take(np.concatenate((*order, left)))

    def _block(self, ctx: Context, author: Ints, publication: Ints) -> Ints:
        """Positions of the next block among what is left, in their new order. Who has no publication is not capped."""
        size, caps = ctx.settings.page_block, (ctx.settings.max_per_author, ctx.settings.max_per_publication)
        for reach in (LOOK_AHEAD * size, len(author)):
            admitted, crowded = _one_by_one(author[:reach], publication[:reach], *caps)
            if np.count_nonzero(admitted) >= size:
                return np.flatnonzero(admitted)[:size].astype(np.int32)
        # Short: then stories that only the publication's cap kept out, then the others, each in rank order.
        tried = np.concatenate((np.flatnonzero(admitted), np.flatnonzero(crowded)))
        tried = tried[_under_cap(author[tried], caps[0])]
        others = np.setdiff1d(np.arange(len(author)), tried)
        return np.concatenate((tried, others))[:size].astype(np.int32)


def _one_by_one(author: Ints, publication: Ints, author_cap: int, publication_cap: int) -> tuple[Bools, Bools]:
    """bool[n] twice: admitted when stories are taken in order under both caps; kept out by the publication's cap alone.

    A story kept out must not count for its author. Counting anew without those found so far only ever finds more of them,
    and ends where taking one by one does.
    """
    crowded = np.zeros(len(author), bool)
    while True:
        at = np.flatnonzero(~crowded)
        at = at[_under_cap(author[at], author_cap)]
        fits = _under_cap(publication[at], publication_cap)
        if fits.all():
            admitted = np.zeros(len(author), bool)
            admitted[at] = True
            return admitted, crowded
        crowded[at[~fits]] = True


def _under_cap(keys: Ints, cap: int) -> Bools:
    """bool[n]: fewer than `cap` earlier entries have the same key, or there is no key."""
    return (occurrence(keys) < cap) | (keys < 0)
