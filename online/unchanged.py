"""A cached first page asked for again: if nothing that it depends on has changed, the page that was answered is the answer.

Whether anything has is not guessed from age: the person's changes, their newest slate and the story stream are read as for
any page, but nothing else is, and on the event loop, so that no thread is needed. In doubt the page is made as usual.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import hiredis
import numpy as np
import orjson
import redis.asyncio
from redis import RedisError

from features.keys import Keys
from online.answering import Asked
from online.context import Context
from online.dates import dated
from online.freshness import fresh_until_us
from online.person import since_digest
from online.providers.fresh_stories import DAY_US
from online.served_log import ServedLog, ServedPage
from online.slate import identify
from online.validating import Page

WAIT_S = 1.0
"""Longest wait for Redis; the usual way waits longer and tries again."""
CONNECTIONS = 32
"""Kept between requests; more are made and closed as they are needed."""
_SECOND_US = 1_000_000
PLUGGED_IN_S = 60
"""Rules of third parties may depend on the clock in ways that are not known here: a minute, as a page is looked at."""
_HEAD = b'{"request_id":"'
_LAST = np.iinfo(np.int64).max

# KEYS: edges, acts, latest slates. ARGV: surface, start of the slates' keys, which share the hash tag.
_READ = """
local id = redis.call('HGET', KEYS[3], ARGV[1])
if id and redis.call('EXISTS', ARGV[2] .. id) == 0 then id = false end
return {id, redis.call('HGETALL', KEYS[1]), redis.call('ZREVRANGE', KEYS[2], 0, -1)}
"""


@dataclass(frozen=True, slots=True)
class Answered:
    """A first page as it was answered, and all that it depends on; of the world only its name, so that old ones can go."""

    tail: bytes
    """The answer, JSON, after the value of its first member, the request id."""
    served: ServedPage
    limit: int
    pinned: str
    loaded: tuple[str, str]
    """Version and story position of the world it was made in."""
    since: bytes
    """`since` of the person."""
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
        self._pages: OrderedDict[tuple[str, str, int], Answered] = OrderedDict()
        self._lock = Lock()

    def find(self, user_id: str, surface: str, limit: int) -> Answered | None:
        """The last such page."""
        return self._pages.get((user_id, surface, limit))

    def note(self, asked: Asked, page: Page, answer: dict[str, Any], served: ServedPage) -> None:
        """Keeps a page, and forgets the oldest."""
        ctx = asked.ctx
        key, loaded = (ctx.user_id, ctx.surface, asked.limit), (ctx.world.version, ctx.world.position)
        until_us = _until_us(ctx, asked, page)
        with self._lock:
            self._pages.pop(key, None)
            since = ctx.person.state.since
            self._pages[key] = Answered(_tail(answer), served, asked.limit, ctx.pinned, loaded, since, until_us)
            while len(self._pages) > self._kept:
                self._pages.popitem(last=False)


def _tail(answer: dict[str, Any]) -> bytes:
    body = orjson.dumps(answer)
    end_of_id = len(_HEAD) + len(answer["request_id"])
    assert body.startswith(_HEAD), "the request id must come first in an answer"
    return body[end_of_id:]


def _until_us(ctx: Context, asked: Asked, page: Page) -> int:
    """When time first changes something: the slate is not fresh, a story is too old, a promotion begins or ends, or a story dated ahead is out."""
    published = ctx.world.published_at.take(page.entries.rows)
    promotions = ctx.world.promotions
    known, behind = dated(ctx.world, ctx.now_us + 1, _LAST - 1)
    ahead = np.concatenate((ctx.world.published_at[known], ctx.world.published_at[behind]))
    turns = np.concatenate((promotions.starts_at, promotions.ends_at, ahead))
    return min(
        fresh_until_us(asked.slate, ctx.settings),
        int(published.min(initial=_LAST // 2)) + int(ctx.settings.max_age_d * DAY_US),
        int(turns[turns > ctx.now_us].min(initial=_LAST)),
        ctx.now_us + PLUGGED_IN_S * _SECOND_US,
    )


def _packed(*command: str | int) -> bytes:
    return hiredis.pack_command(command)  # type: ignore[arg-type]


class Unchanged:
    """Answers with a kept page when it would be made again just so."""

    def __init__(self, client: redis.asyncio.Redis, keys: Keys, pages: AnsweredPages, served: ServedLog) -> None:
        self._client = client
        self._keys = keys
        self._pages = pages
        self._served = served
        self._idle: list[redis.asyncio.connection.AbstractConnection] = []
        """Connections by hand: the pool and its pipelines would take half as long again. Only the event loop touches them."""

    async def page(self, user_id: str, surface: str, limit: int, loaded: tuple[str, str], now_us: int) -> bytes | None:
        """The answer, JSON; None: it has to be made. `loaded`: version and story position of the world in memory."""
        known = self._pages.find(user_id, surface, limit)
        if known is None or known.loaded != loaded or not known.served.served_us <= now_us < known.until_us:
            return None
        try:
            async with asyncio.timeout(WAIT_S):
                newest, edges, acts, later = await self._read(user_id, surface, loaded[1])
        except (RedisError, OSError, TimeoutError):  # the page is then made as usual, or refused with the reason
            return None
        since = since_digest(dict(zip(edges[::2], edges[1::2], strict=True)), acts)
        if later or newest != known.served.slate.encode() or since != known.since:
            return None
        body, served = known.again(now_us)
        self._served.note(served)
        return body

    async def _read(
        self, user_id: str, surface: str, position: str
    ) -> tuple[bytes | None, list[bytes], list[bytes], Any]:
        keys = self._keys
        of_person = (keys.edges(user_id), keys.acts(user_id), keys.latest_slates(user_id))
        of_all = ("XRANGE", keys.story_stream(), f"({position}", "+", "COUNT", 1)
        commands = _packed("EVAL", _READ, 3, *of_person, surface, keys.slate(user_id, "")) + _packed(*of_all)
        connection = self._idle.pop() if self._idle else self._client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.send_packed_command(commands, check_health=False)  # connects first if need be
            (newest, edges, acts), later = await connection.read_response(), await connection.read_response()
        except BaseException:
            await connection.disconnect()  # what was not read must not answer another's question
            raise
        if len(self._idle) < CONNECTIONS:
            self._idle.append(connection)
        else:
            await connection.disconnect()
        return newest, edges, acts, later

    async def close(self) -> None:
        """Gives back the connections."""
        while self._idle:
            await self._idle.pop().disconnect()
        await self._client.aclose()
