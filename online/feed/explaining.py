"""How a fresh ranking came about: its funnel, and the path of one story through it."""

from __future__ import annotations

from typing import Any

import numpy as np

from features.times import rfc3339_of
from online.context import Context, StageReport
from online.slates.slate import Slate
from online.user.user import User


def explanation(ctx: Context, slate: Slate, story_id: str | None) -> dict[str, Any]:
    """What the trace of a slate that was just made tells; `story_id`: the story that was watched, None: none was."""
    answer = {
        "user_id": ctx.user_id,
        "slate": about(slate, cached=False),
        "stages": [_stage(report) for report in ctx.trace.stages],
        "degraded": ctx.trace.degraded,
        "languages": _languages(ctx.user),
    }
    return answer if story_id is None else {**answer, "story": _path(ctx, story_id)}


def _languages(user: User) -> dict[str, Any]:
    """The languages that decide what may be shown, and where they are known from; no source: all may be."""
    if not user.follows_hint:
        return {"known_from": "profile" if user.languages else None, "read": user.languages}
    assert user.reads is not None
    named = user.story_table.languages.ids
    return {"known_from": "accept_language", "read": [named[i] for i in np.flatnonzero(user.reads[:-1])]}


def _path(ctx: Context, story_id: str) -> dict[str, Any]:
    watched = dict(ctx.trace.watched)
    if ctx.trace.watched_row is None:
        return {"story_id": story_id, "known": False}
    bits = watched.pop("sources", 0)
    sources = [name for name, bit in ctx.bits.items() if bits >> bit & 1]
    return {"story_id": story_id, "known": True, "sources": sources, **watched}


def _stage(report: StageReport) -> dict[str, Any]:
    return {
        "stage": report.stage,
        "in": report.taken,
        "out": report.given,
        "dropped": report.dropped,
        "parts": report.parts,
        "ms": round(report.ms, 3),
    }


def about(slate: Slate, *, cached: bool) -> dict[str, Any]:
    """What an answer says of the slate it was cut from."""
    info = slate.info
    return {
        "id": info.id,
        "built_at": rfc3339_of(info.built_at_us),
        "snapshot": info.snapshot,
        "model": info.model,
        "variant": info.variant,
        "cached": cached,
        "candidates": info.candidates,
    }
