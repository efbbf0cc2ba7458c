"""Whether this process can serve, and what an operator should know: what `/readyz` answers."""

from __future__ import annotations

import asyncio
import logging

import redis
import redis.asyncio

from features.errors import Unavailable
from features.keys import Keys
from features.snapshot import Manifest
from features.snapshot_reader import gone
from online.feed.snapshot_loader import LiveSnapshot
from online.streams.archiver import LOST
from rex.local.faults import first_line
from rex.local.redis import doubts, info_on_loop

log = logging.getLogger("rex.online")
WAIT_S = 1.0
"""Longest wait of `/readyz` for Redis: orchestrators give a probe about a second."""
KEYS_AT_ONCE = 1000
"""Pieces asked for in one round trip, so that Redis is never held for long."""


class HealthCheck:
    """`check` runs in the background now and then, `warnings` answers a probe."""

    def __init__(self, client: redis.Redis, loop_client: redis.asyncio.Redis, keys: Keys, live: LiveSnapshot) -> None:
        self._client = client
        self._loop_client = loop_client
        self._keys = keys
        self._live = live
        self._missing: tuple[str, list[str]] = ("", [])
        """Version that was looked at, and the keys of its pieces that are not in Redis."""
        self._lost: set[str] = set()

    def note_lost(self, stream: str) -> None:
        """A stream has lost entries that nobody archived. Logged once, reported by `/readyz` until the process ends."""
        if stream not in self._lost:
            self._lost.add(stream)
            log.error(LOST, stream)

    def check(self) -> None:
        """Looks for every piece of the loaded snapshot. Raises redis.RedisError."""
        if not self._live.is_loaded:
            return
        manifest = self._live.get().manifest
        missing: list[str] = []
        pieces = self._pieces(manifest)
        for start in range(0, len(pieces), KEYS_AT_ONCE):
            keys = pieces[start : start + KEYS_AT_ONCE]
            pipe = self._client.pipeline(transaction=False)
            for key in keys:
                pipe.exists(key)
            missing += (key for key, there in zip(keys, pipe.execute(), strict=True) if not there)
        if missing and self._missing != (manifest.version, missing):
            log.error("%s", _lacks(manifest.version, missing))
        self._missing = (manifest.version, missing)

    async def warnings(self) -> list[str]:
        """What may go wrong; empty when all is well. Unavailable: no feed can be made, or only some."""
        version = self._live.get().version
        try:
            async with asyncio.timeout(WAIT_S):
                published = await self._loop_client.zscore(self._keys.versions(), version)
                info = await info_on_loop(self._loop_client)
        except TimeoutError as error:
            raise Unavailable(f"Redis does not answer within {WAIT_S:g} s") from error
        except redis.RedisError as error:
            raise Unavailable(f"Redis does not answer: {first_line(error)}") from error
        if published is None:
            raise gone(version)
        checked, missing = self._missing
        if missing and checked == version:
            raise Unavailable(_lacks(version, missing))
        return [*doubts(info), *(LOST % stream for stream in sorted(self._lost))]

    async def close(self) -> None:
        """Gives back the connections."""
        await self._loop_client.aclose()

    def _pieces(self, manifest: Manifest) -> list[str]:
        blobs = {piece for pieces in manifest.tables.values() for piece in pieces} | {manifest.model}
        return [
            self._keys.manifest(manifest.version),
            *(self._keys.blob(piece) for piece in sorted(blobs - {""})),
            *(self._keys.users(piece) for piece in sorted(set(manifest.users) - {""})),
        ]


def _lacks(version: str, missing: list[str]) -> str:
    return (
        f"snapshot {version} lacks {len(missing)} of its pieces in Redis, {missing[0]} for one: they were evicted or "
        "deleted; see that maxmemory-policy is noeviction, and run `rex publish` to write them again"
    )
