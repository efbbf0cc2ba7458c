"""Stories that many users read right now."""

from __future__ import annotations

import numpy as np

from features.snapshot import ABSENT
from online.columns import Rows
from online.context import Context
from online.protocols import Provider


class Trending(Provider):
    """The top stories of the user's languages; of all languages when none is known."""

    name = "trending"
    reason = "Trending now"

    def rows(self, ctx: Context) -> Rows:
        """int32[m]."""
        read = ctx.user.reads
        languages = [] if read is None else np.flatnonzero(read[:-1]).tolist()
        lists = [ctx.story_table.top[language] for language in languages or [ABSENT] if language in ctx.story_table.top]
        return ctx.story_table.current(np.concatenate(lists)) if lists else np.empty(0, np.int32)
