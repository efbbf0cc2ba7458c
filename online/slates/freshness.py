"""How long a slate serves first pages, and how long its cursors."""

from __future__ import annotations

from enum import Enum

from online.context import Context
from online.settings import RankingSettings
from online.slates.slate import Slate, identify

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


def ttl_s(slate_id: str, settings: RankingSettings) -> int:
    """How long a slate lives in Redis, at least a second."""
    return max(round(settings.cache.slate_ttl_s * stretch(slate_id)), 1)


def made_for(ctx: Context) -> str:
    """Names what a slate is made for, whatever its age: the snapshot, its model, the variant, the languages of the client where
    they decide, and what the user has asked for since the snapshot (account, follows, mutes, blocks, hides, reports)."""
    user = ctx.user
    asked = (user.state.invalidation_digest.hex(), user.deciding_hint)
    return identify(ctx.story_table.version, ctx.ranker.name, ctx.settings.variant, *asked)


def freshness(ctx: Context, slate: Slate) -> Freshness:
    """The one rule for when a first page is stale: its slate was made for something else, or is too old. See docs/architecture.md."""
    settings = ctx.settings.cache
    fresh_until = slate.info.built_at_us + round(settings.slate_fresh_s * stretch(slate.info.id) * _SECOND_US)
    if slate.info.made_for != made_for(ctx) or ctx.now_us >= fresh_until + settings.stale_s * _SECOND_US:
        return Freshness.USED_UP
    return Freshness.FRESH if ctx.now_us < fresh_until else Freshness.STALE
