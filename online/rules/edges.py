"""Which candidates an edge of the reader touches; shared by the rules on mutes and blocks."""

from __future__ import annotations

import numpy as np

from online.columns import Bools, Candidates
from online.context import Context


def any_target(ctx: Context, candidates: Candidates, kind: str) -> Bools | None:
    """bool[n]: the author, the publication or one of the topics is the target of such an edge; None: no such edge."""
    world, person = ctx.world, ctx.person
    touched: Bools | None = None
    for target_type, column in (("author", world.author), ("publication", world.publication)):
        marks = person.marks(kind, target_type)
        if marks is not None:
            hit = marks[candidates.of(column)] > 0
            touched = hit if touched is None else touched | hit
    marks = person.marks(kind, "topic")
    if marks is not None:
        hit = np.any(marks[candidates.of(world.topics)] > 0, axis=1)
        touched = hit if touched is None else touched | hit
    return touched
