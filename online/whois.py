"""What the service knows of a person now."""

from __future__ import annotations

from typing import Any

import numpy as np

from features.raw_datasets import EDGE_KINDS, TARGET_TYPES
from online.context import Context
from online.names import Names
from online.presenting import timestamp

READS_TOLD = 20
"""Latest reads in the answer; the whole history is in the lake."""


def about_person(ctx: Context) -> dict[str, Any]:
    """Edges in force, latest reads and age of the profile; empty lists and nulls for a newcomer.

    A target that the snapshot does not know is told as its hash, `#<64-bit hash>`.
    """
    person, world = ctx.person, ctx.world
    profile = person.state.profile
    names = dict(zip(TARGET_TYPES, (world.authors, world.publications, world.topic_names), strict=True))
    created = profile["created_at"]
    return {
        "user_id": ctx.user_id,
        "known": len(profile["is_member"]) > 0,
        "created_at": timestamp(int(created[0])) if len(created) else None,
        "is_member": person.is_member,
        "languages": person.languages,
        **{
            f"{kind}s": {target: _told(names[target], person.state.edges(kind, target)) for target in TARGET_TYPES}
            for kind in EDGE_KINDS
        },
        "recent_reads": [world.story_id(int(row)) for row in person.recent_reads[:READS_TOLD]],
        "profile_age_s": (ctx.now_us - _as_of_us(world.manifest.as_of)) / 1e6,
        "snapshot": world.version,
    }


def _told(names: Names, hashes: np.ndarray) -> list[str]:
    return [names.id(int(i)) or f"#{h}" for i, h in zip(names.by_hash.find(hashes), hashes, strict=True)]


def _as_of_us(as_of: str) -> int:
    return int(np.datetime64(as_of.removesuffix("Z").removesuffix("+00:00"), "us").astype(np.int64))
