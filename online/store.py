"""What the service reads and writes in Redis for one person: one pipelined round trip each way."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import redis

from features.errors import Unavailable
from features.keys import Keys, hash64
from features.packing import CorruptValue
from features.snapshot import PROFILE, Manifest
from features.snapshot_reader import profile_place
from online.build_reading import BuildReading
from online.person import ACT, ACT_CODES, EMPTY_PROFILE, PersonState, decode_changes
from online.served_history import decode_history
from online.slate import Slate
from online.stream import START, StreamEntry
from online.timelines.timeline import decode_timeline

log = logging.getLogger("rex.online")

STORY_TAIL = 10_000
"""Story changes read at once; a process further behind than this reads on before it answers."""

# The slate key shares the hash tag of the person's keys, so naming it inside the script is safe on Redis Cluster.
_READ_LATEST_SLATE = """
local id = redis.call('HGET', KEYS[1], ARGV[1])
return id and redis.call('GET', ARGV[2] .. id)
"""


def read_story_tail(client: redis.Redis, keys: Keys, position: str) -> list[StreamEntry]:
    """At most STORY_TAIL story changes after `position`, oldest first. Unavailable when Redis cannot be read."""
    try:
        tail: list[StreamEntry] = client.xrange(keys.story_stream(), f"({position}", "+", count=STORY_TAIL)  # type: ignore[assignment]
    except redis.RedisError as error:
        raise Unavailable(f"Redis cannot be read, so withdrawals are not known: {error}") from error
    return tail


@dataclass(frozen=True, slots=True)
class Reading:
    """The answer of the one round trip a request makes before it ranks."""

    state: PersonState
    slate: Slate | None
    """The slate asked for; None: there is none (any more)."""
    story_changes: list[StreamEntry]
    """Entries of the story stream after the position asked from."""


class PersonStore:
    """Person state and slates. Raises Unavailable when Redis cannot be read: without mutes and blocks no feed."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def read(
        self, manifest: Manifest, user_id: str, *, surface: str, slate_id: str | None, story_position: str
    ) -> Reading:
        """Everything a request needs of one person; `slate_id` None: the newest slate of the surface."""
        user_hash = hash64(user_id)
        bucket, place = profile_place(manifest, user_hash)
        pipe = self._client.pipeline(transaction=False)
        pipe.hget(self._keys.people(bucket), place)
        pipe.hgetall(self._keys.edges(user_id))
        pipe.zrevrange(self._keys.acts(user_id), 0, -1)
        pipe.xrange(self._keys.story_stream(), f"({story_position}", "+", count=STORY_TAIL)
        if slate_id is None:
            pipe.eval(_READ_LATEST_SLATE, 1, self._keys.latest_slates(user_id), surface, self._keys.slate(user_id, ""))
        else:
            pipe.get(self._keys.slate(user_id, slate_id))
        # Last, because a publisher that removes an old snapshot takes it off this list first.
        pipe.exists(self._keys.people(bucket))
        pipe.zscore(self._keys.versions(), manifest.version)
        try:
            profile, edges, acts, story_changes, slate, bucket_there, version_there = pipe.execute()
        except redis.RedisError as error:
            raise Unavailable(f"Redis cannot be read, so no feed can be made: {error}") from error
        if version_there is None or (bucket and not bucket_there):
            raise Unavailable(f"snapshot {manifest.version} is not in Redis any more; the current one is being loaded")
        covered = manifest.positions.get(self._keys.event_stream(self._keys.partition(user_id)), START)
        state = _decode_person(user_id, user_hash, profile, edges, acts, covered)
        return Reading(state, _decode_slate(slate), story_changes)

    def read_for_build(self, user_id: str, day: str) -> BuildReading:
        """What only the building of a slate needs; `day` is the UTC day, `YYYYMMDD`."""
        pipe = self._client.pipeline(transaction=False)
        pipe.lrange(self._keys.timeline(user_id), 0, -1)
        pipe.hgetall(self._keys.timeline_about(user_id))
        pipe.get(self._keys.pulled_version())
        pipe.zrange(self._keys.served_history(user_id), 0, -1, withscores=True)
        pipe.hgetall(self._keys.promoted(user_id, day))
        try:
            timeline, about, pulled_version, served, promoted = pipe.execute()
        except redis.RedisError as error:
            raise Unavailable(f"Redis cannot be read, so no feed can be made: {error}") from error
        return BuildReading(
            timeline=decode_timeline(timeline, about),
            pulled_version=int(pulled_version or 0),
            served=decode_history(served),
            promoted={int(promotion): int(count) for promotion, count in promoted.items()},
        )

    def write_slate(self, user_id: str, surface: str, slate: Slate, ttl_s: int) -> int:
        """Stores a slate and makes it the newest of its surface; returns its size in bytes."""
        value = slate.encode()
        latest = self._keys.latest_slates(user_id)
        pipe = self._client.pipeline(transaction=True)
        pipe.set(self._keys.slate(user_id, slate.info.id), value, ex=ttl_s)
        pipe.hset(latest, surface, slate.info.id)
        pipe.expire(latest, ttl_s)
        pipe.execute()
        return len(value)


def _decode_slate(data: bytes | None) -> Slate | None:
    """None as well for a slate in another form, such as an older release's: it can be made anew."""
    try:
        return Slate.decode(data) if data else None
    except CorruptValue as error:
        log.warning("a cached slate is left aside: %s", error)
        return None


def _decode_person(
    user_id: str, user_hash: int, profile: bytes | None, edges: dict[bytes, bytes], acts: list[bytes], covered: str
) -> PersonState:
    raw: list[Any] = [profile or b"", *(part for item in sorted(edges.items()) for part in item), *acts]
    packed = b"".join(acts)
    if len(packed) != ACT.itemsize * len(acts):
        raise CorruptValue(f"acts of {user_id}: entries must be {ACT.itemsize} bytes each")
    return PersonState(
        user_id=user_id,
        user_hash=user_hash,
        profile=PROFILE.decode(profile) if profile else EMPTY_PROFILE,
        changes=decode_changes(edges, covered),
        acts=np.frombuffer(packed, ACT),
        digest=_digest(raw),
        standing=_digest([*(part for item in sorted(edges.items()) for part in item), *_refusals(acts)]),
    )


def _refusals(acts: list[bytes]) -> list[bytes]:
    """Hides and reports, in the order of their bytes."""
    return sorted(act for act in acts if act[-1] in (ACT_CODES["hide"], ACT_CODES["report"]))


def _digest(parts: Iterable[bytes]) -> bytes:
    return hashlib.blake2b(b"\x1f".join(parts), digest_size=12).digest()
