"""No author and no publication dominates: caps in every block of a screenful.

When the caps leave a block short, it is filled up at its end by relaxing them in this order: first the publication's,
then the author's. Nothing is dropped.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from online.columns import Bools, Candidates, Ints, occurrence
from online.context import Context


class Diversity:
    """Fills block after block with the best-ranked stories that the caps admit."""

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
        settings = ctx.settings
        author_fits = _under_cap(author, settings.max_per_author)
        both_fit = author_fits & _under_cap(np.where(author_fits, publication, -1), settings.max_per_publication)
        # Stable sort by how much has to be relaxed: 0 nothing, 1 the publication's cap, 2 the author's.
        relaxed = np.where(both_fit, 0, np.where(author_fits, 1, 2))
        return np.argsort(relaxed, kind="stable")[: settings.page_block].astype(np.int32)


def _under_cap(keys: Ints, cap: int) -> Bools:
    """bool[n]: fewer than `cap` earlier entries have the same key, or there is no key."""
    return (occurrence(keys) < cap) | (keys < 0)
