"""Nothing from authors, publications or topics that the reader has blocked."""

from __future__ import annotations

from typing import ClassVar

from online.columns import Bools, Candidates
from online.context import Context
from online.rules.edges import any_target


class Blocked:
    """Stories of a blocked author or publication, or with a blocked topic."""

    name: ClassVar[str] = "blocked"

    def drops(self, ctx: Context, candidates: Candidates) -> Bools | None:
        """bool[n]."""
        return any_target(ctx, candidates, "block")
