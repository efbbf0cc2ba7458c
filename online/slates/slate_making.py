"""From ranked candidates to a slate: its name, its watermark, its columns."""

from __future__ import annotations

import numpy as np

from features.arrays import F32
from features.keys import hash64
from features.registry import FEATURES
from online.columns import Candidates
from online.context import Context
from online.slates.freshness import made_for
from online.slates.slate import Slate, SlateInfo, Watermark, identify
from online.story_table.dates import newest


def sampled(slate_id: str, rate: float) -> bool:
    """Whether features of a slate are logged: a `rate` of all slates, decided by the id alone, so that replays agree."""
    return hash64(slate_id) % (1 << 32) < rate * (1 << 32)


def slate_id(ctx: Context) -> str:
    """Named after what it depends on; the continuation of a pagination session after where the session stands."""
    if ctx.pagination_session is not None:
        return ctx.pagination_session.slate_id
    return identify(ctx.user_id, ctx.surface, ctx.now_us, ctx.pinned, ctx.build_inputs.digest.hex(), ctx.ranker.name)


def features_wanted(ctx: Context) -> frozenset[str]:
    """What the ranker reads; all registered features when the slate is one of those whose features are logged."""
    if sampled(slate_id(ctx), ctx.settings.served.features_rate):
        return frozenset(feature.name for feature in FEATURES)
    return frozenset(ctx.ranker.inputs)


def slate_of(ctx: Context, ranked: Candidates, found: int) -> Slate:
    """The slate of `ranked`, whose aggregation found `found` stories."""
    name, mark = slate_id(ctx), _watermark(ctx)
    info = SlateInfo(
        id=name,
        built_at_us=ctx.now_us,
        snapshot=ctx.story_table.version,
        made_for=made_for(ctx),
        hint=ctx.user.deciding_hint,
        model=ctx.ranker.name,
        variant=ctx.settings.variant,
        candidates=found,
        sources=tuple(ctx.bits),
        degraded=tuple(ctx.trace.degraded),
        watermark_us=mark.published_us,
        watermark_id=mark.story_id,
        timeline_seq=mark.seq,
        consumed_before=0 if ctx.pagination_session is None else len(ctx.pagination_session.consumed),
    )
    promotions = ranked.columns.get("promotion", np.empty(0, np.int64))
    propensities = ranked.columns.get("propensity", np.empty(0, np.float32))
    features = np.empty((0, 0), np.float32)
    if sampled(name, ctx.settings.served.features_rate):
        features = _features(ranked)
    hashes = ctx.story_table.hashes[ranked.rows]
    return Slate(info, hashes, ranked.columns["score"], ranked.sources, promotions, propensities, features)


def _watermark(ctx: Context) -> Watermark:
    if ctx.pagination_session is not None:
        return ctx.pagination_session.watermark
    timeline = ctx.build_inputs.timeline
    published_us, story_id = newest(ctx.story_table, ctx.now_us)
    return Watermark(published_us, story_id, 0 if timeline is None else timeline.seq)


def _features(ranked: Candidates) -> F32:
    """float32[m, registered features], NaN where an annotator did not compute one."""
    missing = np.full(len(ranked), np.nan, np.float32)
    return np.stack([ranked.columns.get(feature.name, missing) for feature in FEATURES], axis=1)
