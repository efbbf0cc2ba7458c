"""What the service knows of a user now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from features.raw_datasets import EDGE_KINDS, TARGET_TYPES
from features.times import rfc3339_of
from online.context import Context
from online.story_table.names import Names

REFUSED_SHOWN = 1000
"""Refused stories in the answer: more than anybody scrolls through to take one back."""
READS_SHOWN = 20
"""Latest reads in the answer; the whole history is in the lake."""


def about_user(ctx: Context) -> dict[str, Any]:
    """Edges in force, latest reads and age of the profile; empty lists and nulls for a newcomer.

    A target that the snapshot does not name and that was not followed, muted or blocked since is shown as its hash,
    `#<64-bit hash>`: see MAX_TARGETS of batch/snapshot_tables.py.
    """
    user, story_table = ctx.user, ctx.story_table
    profile = user.state.profile
    names = dict(
        zip(TARGET_TYPES, (story_table.authors, story_table.publications, story_table.topic_names), strict=True)
    )
    lately = {change.target: change.target_id for change in user.state.changes}

    def id_of(target: int) -> str:
        return lately.get(target) or story_table.targets.id(target) or f"#{target}"

    return {
        "user_id": ctx.user_id,
        "known": len(profile["is_member"]) > 0,
        "created_at": account_times(ctx).get("created_at"),
        "is_member": user.is_member,
        "languages": user.languages,
        **{
            f"{kind}s": {
                target: _formatted(names[target], user.state.edges(kind, target), id_of) for target in TARGET_TYPES
            }
            for kind in EDGE_KINDS
        },
        "hides": _stories(ctx, "hide", id_of),
        "reports": _stories(ctx, "report", id_of),
        "recent_reads": [story_table.story_id(int(row)) for row in user.recent_reads[:READS_SHOWN]],
        "profile_age_s": (ctx.now_us - _as_of_us(story_table.manifest.as_of)) / 1e6,
        "snapshot": story_table.version,
    }


def _formatted(names: Names, hashes: np.ndarray, otherwise: Callable[[int], str]) -> list[str]:
    found = zip(names.by_hash.find(hashes).tolist(), hashes.tolist(), strict=True)
    return [names.id(index) or otherwise(target) for index, target in found]


def _stories(ctx: Context, kind: str, otherwise: Callable[[int], str]) -> list[str]:
    """Stories that the user has refused, those of since the snapshot last."""
    refused, story_table = ctx.user.state.edges(kind, "story"), ctx.story_table
    lately = {change.target for change in ctx.user.state.changes if change.kind == kind}
    held = [target for target in refused.tolist() if target not in lately]
    shown = [*held, *(target for target in refused.tolist() if target in lately)][-REFUSED_SHOWN:]
    rows = story_table.by_hash.find(np.array(shown, np.int64))
    return [
        story_table.story_id(row) if row >= 0 else otherwise(target)
        for target, row in zip(shown, rows.tolist(), strict=True)
    ]


def account_times(ctx: Context) -> dict[str, str]:
    """`created_at` of the account and `updated_at` of its version in the snapshot, RFC 3339; without what nobody knows."""
    profile = ctx.user.state.profile
    return {name: rfc3339_of(int(profile[name][0])) for name in ("created_at", "updated_at") if len(profile[name])}


def _as_of_us(as_of: str) -> int:
    return int(np.datetime64(as_of.removesuffix("Z").removesuffix("+00:00"), "us").astype(np.int64))
