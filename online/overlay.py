"""What happened to stories since the snapshot: withdrawals and changed visibility, from the story stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import orjson

from features.keys import hash64_many
from features.raw_datasets import VISIBILITIES
from online.clock import micros
from online.columns import Bools
from online.stream import StreamEntry
from online.world import World


@dataclass(frozen=True, slots=True)
class StoryOverlay:
    """Immutable; `after` gives the next one. Overrides the snapshot from `position` on."""

    position: str
    """Id of the last stream entry applied."""
    withdrawn: Bools | None = None
    """bool[N]: not to be shown, because it was withdrawn, or changed beyond what the snapshot's columns can judge; None: none."""
    visibility: np.ndarray | None = None
    """int8[N]: the visibility in force; None: that of the snapshot."""
    members_only: Bools | None = None
    """bool[N]: members-only in force; None: that of the snapshot."""
    applied: int = field(default=0)
    """Entries applied since the snapshot."""

    def after(self, world: World, entries: Sequence[StreamEntry]) -> StoryOverlay:
        """This overlay with later stream entries applied in order. A story the snapshot lacks waits for the next one."""
        if not entries:
            return self
        withdrawn = np.zeros(len(world), bool) if self.withdrawn is None else self.withdrawn.copy()
        visibility = (world.visibility if self.visibility is None else self.visibility).copy()
        members_only = (world.members_only if self.members_only is None else self.members_only).copy()
        changes: list[dict[str, Any]] = [orjson.loads(fields[b"story"]) for _, fields in entries]
        rows = world.by_hash.find(hash64_many([change["story_id"] for change in changes]))
        for row, change in zip(rows, changes, strict=True):
            if row < 0:
                continue
            withdrawn[row] = change.get("deleted_at") is not None or _needs_next_snapshot(world, int(row), change)
            visibility[row] = VISIBILITIES.index(change.get("visibility") or VISIBILITIES[0])
            members_only[row] = bool(change.get("members_only"))
        return StoryOverlay(entries[-1][0].decode(), withdrawn, visibility, members_only, self.applied + len(entries))


def _needs_next_snapshot(world: World, row: int, change: dict[str, Any]) -> bool:
    """Whether the new version has another author or a later date, so that rules on the old columns would admit too much."""
    published_at = micros(datetime.fromisoformat(change["published_at"]))
    return change.get("author_id") != world.authors.id(int(world.author[row])) or published_at > world.published_at[row]
