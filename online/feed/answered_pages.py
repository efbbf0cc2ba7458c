"""First pages as they were answered, with all that they depend on, for when nothing of it has changed."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import numpy as np
import orjson

from features.times import UNDATED
from online.context import Context
from online.feed.answering import Asked
from online.feed.served_log import ServedPage
from online.providers.fresh_stories import DAY_US
from online.slates.freshness import fresh_until_us
from online.slates.slate import identify
from online.story_table.dates import dated
from online.validators.page import Page

_SECOND_US = 1_000_000
PLUGGED_IN_S = 60
"""Rules of third parties may depend on the clock in ways that are not known here: a minute, as a page is looked at."""
_HEAD = b'{"request_id":"'
_LAST = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Answered:
    """A first page as it was answered, and all that it depends on; of the story table only its name, so that old ones can go."""

    tail: bytes
    """The answer, JSON, after the value of its first member, the request id."""
    served: ServedPage
    limit: int
    pinned: str
    loaded: tuple[str, str]
    """Version and story position of the story table it was made in."""
    overlay_digest: bytes
    """`overlay_digest` of the user."""
    until_us: int
    """From then on the clock alone may change it."""

    def again(self, now_us: int) -> tuple[bytes, ServedPage]:
        """The same page at another moment, under an id of its own."""
        request_id = identify(self.served.slate, 0, self.limit, now_us, self.pinned)
        body = _HEAD + request_id.encode() + self.tail
        return body, replace(self.served, request_id=request_id, served_us=now_us)


class AnsweredPages:
    """The last first pages that this process answered from cached slates; at most `kept`."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._pages: OrderedDict[tuple[str, str, int, tuple[int, ...]], Answered] = OrderedDict()
        self._lock = Lock()

    def find(self, user_id: str, surface: str, limit: int, hint: tuple[int, ...]) -> Answered | None:
        """The last such page."""
        return self._pages.get((user_id, surface, limit, hint))

    def note(self, asked: Asked, page: Page, answer: dict[str, Any], served: ServedPage) -> None:
        """Keeps a page, and forgets the oldest."""
        ctx = asked.ctx
        key = (ctx.user_id, ctx.surface, asked.limit, ctx.user.hint)
        loaded = (ctx.story_table.version, ctx.story_table.position)
        until_us = _until_us(ctx, asked, page)
        with self._lock:
            self._pages.pop(key, None)
            overlay_digest = ctx.user.state.overlay_digest
            self._pages[key] = Answered(
                _tail(answer), served, asked.limit, ctx.pinned, loaded, overlay_digest, until_us
            )
            while len(self._pages) > self._kept:
                self._pages.popitem(last=False)


def _tail(answer: dict[str, Any]) -> bytes:
    body = orjson.dumps(answer)
    end_of_id = len(_HEAD) + len(answer["request_id"])
    assert body.startswith(_HEAD), "the request id must come first in an answer"
    return body[end_of_id:]


def _until_us(ctx: Context, asked: Asked, page: Page) -> int:
    """When time first changes something: the slate is not fresh, a story is too old, a promotion begins or ends, or a story dated ahead is out."""
    published = ctx.story_table.published_at.take(page.entries.rows)
    promotions = ctx.story_table.promotions
    known, behind = dated(ctx.story_table, ctx.now_us + 1, _LAST - 1)
    ahead = np.concatenate((ctx.story_table.published_at[known], ctx.story_table.published_at[behind]))
    turns = np.concatenate((promotions.starts_at, promotions.ends_at, ahead))
    return min(
        fresh_until_us(asked.slate, ctx.settings),
        int(published.min(initial=_LAST // 2, where=published != UNDATED))
        + int(ctx.settings.preprocess.max_age_d * DAY_US),
        int(turns[turns > ctx.now_us].min(initial=_LAST)),
        ctx.now_us + PLUGGED_IN_S * _SECOND_US,
    )
