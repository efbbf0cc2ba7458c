"""A cached first page asked for again: if nothing that it depends on has changed, the page that was answered is the answer.

Whether anything has is not guessed from age: the user's changes, their newest slate and the story stream are read as for
any page, but nothing else is, and on the event loop, so that no thread is needed. In doubt the page is made as usual.
"""

from __future__ import annotations

import asyncio
from typing import Any

import hiredis
import redis.asyncio
from redis import RedisError

from features.keys import Keys
from online.feed.answered_pages import AnsweredPages
from online.feed.preparing import FeedRequest
from online.feed.served_log import ServedLog
from online.user.user import digest_of_overlay

WAIT_S = 1.0
"""Longest wait for Redis; the usual way waits longer and tries again."""
CONNECTIONS = 32
"""Kept between requests; more are made and closed as they are needed."""

# KEYS: latest slates, interactions, then the hashes of changed edges. ARGV: surface, start of the slates' keys, which share the hash tag.
_READ = """
local id = redis.call('HGET', KEYS[1], ARGV[1])
if id and redis.call('EXISTS', ARGV[2] .. id) == 0 then id = false end
local edges = {}
for i = 3, #KEYS do edges[i - 2] = redis.call('HGETALL', KEYS[i]) end
return {id, edges, redis.call('ZREVRANGE', KEYS[2], 0, -1)}
"""


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

    async def page(self, wanted: FeedRequest, loaded: tuple[str, str], now_us: int) -> bytes | None:
        """The answer, JSON; None: it has to be made. `loaded`: version and story position of the story table in memory."""
        user_id, surface = wanted.user_id, wanted.surface
        known = self._pages.find(user_id, surface, wanted.limit, wanted.hint)
        if known is None or known.loaded != loaded or not known.served.served_us <= now_us < known.until_us:
            return None
        try:
            async with asyncio.timeout(WAIT_S):
                newest, edges, interactions, later = await self._read(user_id, surface, loaded[1])
        except (RedisError, OSError, TimeoutError):  # the page is then made as usual, or refused with the reason
            return None
        overlay_digest = digest_of_overlay(
            {k: v for one in edges for k, v in zip(one[::2], one[1::2], strict=True)}, interactions
        )
        if later or newest != known.served.slate.encode() or overlay_digest != known.overlay_digest:
            return None
        body, served = known.again(now_us)
        self._served.note(served)
        return body

    async def _read(
        self, user_id: str, surface: str, position: str
    ) -> tuple[bytes | None, list[list[bytes]], list[bytes], Any]:
        keys = self._keys
        of_user = (keys.latest_slates(user_id), keys.interactions(user_id), *keys.edge_hashes(user_id))
        of_all = ("XRANGE", keys.story_stream(), f"({position}", "+", "COUNT", 1)
        commands = _packed("EVAL", _READ, len(of_user), *of_user, surface, keys.slate(user_id, "")) + _packed(*of_all)
        connection = self._idle.pop() if self._idle else self._client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.send_packed_command(commands, check_health=False)  # connects first if need be
            (newest, edges, interactions), later = await connection.read_response(), await connection.read_response()
        except BaseException:
            await connection.disconnect()  # what was not read must not answer another's question
            raise
        if len(self._idle) < CONNECTIONS:
            self._idle.append(connection)
        else:
            await connection.disconnect()
        return newest, edges, interactions, later

    async def close(self) -> None:
        """Gives back the connections."""
        while self._idle:
            await self._idle.pop().disconnect()
        await self._client.aclose()
