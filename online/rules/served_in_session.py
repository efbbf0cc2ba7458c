"""A pagination session that goes on with a new slate shows nothing again, nor a near-duplicate of it."""

from __future__ import annotations

from features.arrays import Bools
from online.columns import Candidates
from online.context import Context
from online.protocols import Timeless
from online.selection import among


class ServedInSession(Timeless):
    """Stories that earlier slates of the pagination session have delivered or skipped, and near-duplicates of these: the slate in
    which they had collapsed would not have shown them either. Judges candidates, not entries of a slate.
    """

    name = "served_in_session"

    def drops(self, ctx: Context, candidates: Candidates) -> Bools | None:
        """bool[n]; None: a pagination session begins here."""
        if ctx.pagination_session is None:
            return None
        keys = ctx.story_table.duplicate_key
        return among(candidates.of(keys), keys.take(ctx.story_table.by_hash.known(ctx.pagination_session.consumed)))
