"""Nothing from authors, publications or topics that the user has muted."""

from __future__ import annotations

from typing import ClassVar

from features.arrays import Bools
from online.columns import Candidates
from online.context import Context
from online.protocols import Timeless
from online.rules.edges import any_target


class Muted(Timeless):
    """Stories of a muted author or publication, or with a muted topic."""

    name: ClassVar[str] = "muted"

    def drops(self, ctx: Context, candidates: Candidates) -> Bools | None:
        """bool[n]."""
        return any_target(ctx, candidates, "mute")
