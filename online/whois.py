"""What the service knows of a person now."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from features.raw_datasets import EDGE_KINDS, TARGET_TYPES
from features.times import EPOCH, rfc3339
from online.context import Context
from online.names import Names

READS_TOLD = 20
"""Latest reads in the answer; the whole history is in the lake."""


def about_person(ctx: Context) -> dict[str, Any]:
    """Edges in force, latest reads and age of the profile; empty lists and nulls for a newcomer.

    A target that the snapshot does not name and that was not followed, muted or blocked since is told as its hash,
    `#<64-bit hash>`: see MAX_TARGETS of batch/snapshot_targets.py.
    """
    person, world = ctx.person, ctx.world
    profile = person.state.profile
    names = dict(zip(TARGET_TYPES, (world.authors, world.publications, world.topic_names), strict=True))
    lately = {change.target: change.target_id for change in person.state.changes}

    def told(target: int) -> str:
        return lately.get(target) or world.targets.id(target) or f"#{target}"

    return {
        "user_id": ctx.user_id,
        "known": len(profile["is_member"]) > 0,
        "created_at": None if (since := known_since(ctx)) is None else rfc3339(since),
        "is_member": person.is_member,
        "languages": person.languages,
        **{
            f"{kind}s": {
                target: _told(names[target], person.state.edges(kind, target), told) for target in TARGET_TYPES
            }
            for kind in EDGE_KINDS
        },
        "recent_reads": [world.story_id(int(row)) for row in person.recent_reads[:READS_TOLD]],
        "profile_age_s": (ctx.now_us - _as_of_us(world.manifest.as_of)) / 1e6,
        "snapshot": world.version,
    }


def _told(names: Names, hashes: np.ndarray, otherwise: Callable[[int], str]) -> list[str]:
    found = zip(names.by_hash.find(hashes).tolist(), hashes.tolist(), strict=True)
    return [names.id(index) or otherwise(target) for index, target in found]


def known_since(ctx: Context) -> datetime | None:
    """When the account was made; None: nobody knows."""
    created = ctx.person.state.profile["created_at"]
    return EPOCH + timedelta(microseconds=int(created[0])) if len(created) else None


def _as_of_us(as_of: str) -> int:
    return int(np.datetime64(as_of.removesuffix("Z").removesuffix("+00:00"), "us").astype(np.int64))
