"""Which sources belong together when a feed is blended. How much of a block each group gets at least is a setting, share_*."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.arrays import I64
from online.columns import Bits

GROUPS = ("followed", "topics", "history", "discovery")
MEMBERS = {
    "followed": ("followed_authors", "followed_publications", "timeline"),  # whom the user chose
    "topics": ("followed_topics",),  # what the user chose
    "history": ("similar_to_read", "reading_history"),  # what their reading says
    "discovery": ("trending", "fresh_stories"),  # what they would not have found
}
"""Group → providers. Others are in the group that their attribute `group` names, discovery without one."""
_GROUP_OF = {name: group for group, names in MEMBERS.items() for name in names}


def groups_by_bit(providers: Sequence[Any]) -> NDArray[np.int16]:
    """int16[providers]: index into GROUPS. ValueError when a provider names a group that there is not."""
    named = [_GROUP_OF.get(provider.name) or getattr(provider, "group", "discovery") for provider in providers]
    if unknown := sorted(set(named) - set(GROUPS)):
        raise ValueError(f"there is no group {unknown[0]!r} of sources; a provider may name one of {', '.join(GROUPS)}")
    return np.array([GROUPS.index(group) for group in named], np.int16)


def highest_priority(sources: Bits) -> I64:
    """int[n]: the lowest bit that is set; providers stand in the order of their priority. `sources` > 0."""
    lowest = sources & (~sources + np.uint32(1))
    return np.log2(lowest).astype(np.int64)
