"""How long a slate serves first pages, and how long its cursors."""

from __future__ import annotations

from enum import Enum

from online.context import Context
from online.settings import OnlineSettings
from online.slates.slate import Slate

JITTER = 0.1
"""Lives are stretched or shrunk by up to this share, so that slates made together do not end together."""
_SECOND_US = 1_000_000


class Freshness(Enum):
    """What a first page may do with a slate."""

    FRESH = "answer from it"
    STALE = "answer from it, and build the next one in the background"
    USED_UP = "build another before answering"


def stretch(slate_id: str) -> float:
    """1 ± JITTER, the same for the same slate in every process."""
    share = int(slate_id[:8], 16) / 0xFFFFFFFF
    return 1 + JITTER * (2 * share - 1)


def ttl_s(slate_id: str, settings: OnlineSettings) -> int:
    """How long a slate lives in Redis, at least a second."""
    return max(round(settings.slate_ttl_s * stretch(slate_id)), 1)


def freshness(ctx: Context, slate: Slate) -> Freshness:
    """By the slate's age, and at once when the snapshot, the variant, the model or what its owner asked for has changed."""
    info, settings = slate.info, ctx.settings
    made_for = (info.snapshot, info.invalidation_digest, info.hint, info.variant, info.model)
    invalidation_digest, hint = ctx.user.state.invalidation_digest.hex(), ctx.user.deciding_hint
    asked_by = (ctx.story_table.version, invalidation_digest, hint, settings.variant, ctx.ranker.name)
    fresh_until = info.built_at_us + round(settings.slate_fresh_s * stretch(info.id) * _SECOND_US)
    if made_for != asked_by or ctx.now_us >= fresh_until + settings.stale_s * _SECOND_US:
        return Freshness.USED_UP
    return Freshness.FRESH if ctx.now_us < fresh_until else Freshness.STALE
