"""Which candidates an edge of the user touches; shared by the rules on mutes and blocks."""

from __future__ import annotations

from features.arrays import Bools
from online.columns import Candidates
from online.context import Context


def any_target(ctx: Context, candidates: Candidates, kind: str) -> Bools | None:
    """bool[n]: the author, the publication or one of the topics is the target of such an edge; None: no such edge."""
    story_table, user = ctx.story_table, ctx.user
    touched: Bools | None = None
    for target_type, column in (
        ("author", story_table.author),
        ("publication", story_table.publication),
        ("topic", story_table.topics),
    ):
        marks = user.marks(kind, target_type)
        if marks is None:
            continue
        targets = candidates.of(column)
        for place in targets.T if targets.ndim == 2 else (targets,):
            hit = marks.take(place) > 0
            touched = hit if touched is None else touched | hit
    return touched
