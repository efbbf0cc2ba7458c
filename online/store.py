"""What the service reads and writes in Redis for one person: one pipelined round trip each way."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
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
from online.chain import Kept
from online.person import ACT, ACT_CODES, EMPTY_PROFILE, PersonState, decode_changes, since_digest
from online.served_history import decode_history
from online.slate import ORGANIC, Slate
from online.stream import START, StreamEntry
from online.timelines.pulled import PulledTargets
from online.timelines.timeline import Timeline, decode_timeline

log = logging.getLogger("rex.online")

STORY_TAIL = 10_000
"""Story changes read at once; a process further behind than this reads on before it answers."""

# The slate key shares the hash tag of the person's keys, so naming it inside the script is safe on Redis Cluster.
_READ_LATEST_SLATE = """
local id = redis.call('HGET', KEYS[1], ARGV[1])
return {id, id and redis.call('GET', ARGV[2] .. id), false}
"""
# What a chain has passed is needed only when its slate is gone.
_READ_SLATE_OF_CHAIN = """
local slate = redis.call('GET', KEYS[1])
return {ARGV[1], slate, not slate and redis.call('GET', KEYS[2])}
"""
# KEYS: slate, chain, latest slates, promoted today. ARGV: slate, its ttl s, chain, its ttl s, surface, slate id, ttl s of
# promoted, then the promotions. Without a surface it is the continuation of a chain, which no first page may come from
# and which may not be written anew while cursors into its chain are about. Answers the slate that is kept, if another.
_WRITE_SLATE = """
local kept = redis.call('GET', KEYS[1])
if kept then return kept end
if ARGV[5] == '' and redis.call('EXISTS', KEYS[2]) == 1 then return '' end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[4])
if ARGV[5] ~= '' then
  redis.call('HSET', KEYS[3], ARGV[5], ARGV[6])
  redis.call('EXPIRE', KEYS[3], ARGV[2])
end
for i = 8, #ARGV do redis.call('HINCRBY', KEYS[4], ARGV[i], 1) end
if #ARGV > 7 then redis.call('EXPIRE', KEYS[4], ARGV[7]) end
return false
"""
MAX_RETURNS = 100_000
"""People whose timelines wait to be made; at some 150 bytes each 15 MB, and minutes of work."""
PROMOTED_TTL_S = 172_800
"""Caps count by UTC day; two days, so that no clock a little behind finds its day gone."""


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
    kept: Kept
    """What there is of the slate asked for."""
    story_changes: list[StreamEntry]
    """Entries of the story stream after the position asked from."""


@dataclass(frozen=True, slots=True)
class SlateEnds:
    """How long a new slate lives and what it counts for."""

    slate_ttl_s: int
    chain_ttl_s: int
    day: str
    """UTC day on which its promotions count, `YYYYMMDD`."""
    surface: str | None
    """Surface whose newest slate it becomes; None: it continues a chain, and no first page comes from it."""


class PersonStore:
    """Person state and slates. Raises Unavailable when Redis cannot be read: without mutes and blocks no feed."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._pulled = PulledTargets(client, keys)

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
            of_slate = (self._keys.slate(user_id, slate_id), self._keys.chain(user_id, slate_id))
            pipe.eval(_READ_SLATE_OF_CHAIN, 2, *of_slate, slate_id)
        # Last, because a publisher that removes an old snapshot takes it off this list first.
        pipe.exists(self._keys.people(bucket))
        pipe.zscore(self._keys.versions(), manifest.version)
        try:
            profile, edges, acts, story_changes, kept, bucket_there, version_there = pipe.execute()
        except redis.RedisError as error:
            raise Unavailable(f"Redis cannot be read, so no feed can be made: {error}") from error
        if version_there is None or (bucket and not bucket_there):
            raise Unavailable(f"snapshot {manifest.version} is not in Redis any more; the current one is being loaded")
        covered = manifest.positions.get(self._keys.event_stream(self._keys.partition(user_id)), START)
        state = _decode_person(user_id, user_hash, profile, edges, acts, covered)
        return Reading(state, _decode_kept(*kept), story_changes)

    def read_kept(self, user_id: str, slate_id: str) -> Kept:
        """What there is of one slate, its place in its chain included."""
        try:
            found = self._client.mget(self._keys.slate(user_id, slate_id), self._keys.chain(user_id, slate_id))
        except redis.RedisError as error:
            raise Unavailable(f"Redis cannot be read, so no feed can be made: {error}") from error
        return _decode_kept(slate_id.encode(), *found)  # type: ignore[arg-type]

    def read_state(self, manifest: Manifest, user_id: str) -> PersonState:
        """The person without acts: profile, and edges changed since."""
        user_hash = hash64(user_id)
        bucket, place = profile_place(manifest, user_hash)
        pipe = self._client.pipeline(transaction=False)
        pipe.hget(self._keys.people(bucket), place)
        pipe.hgetall(self._keys.edges(user_id))
        pipe.exists(self._keys.people(bucket))
        pipe.zscore(self._keys.versions(), manifest.version)
        profile, edges, bucket_there, version_there = pipe.execute()
        if version_there is None or (bucket and not bucket_there):
            raise Unavailable(f"snapshot {manifest.version} is not in Redis any more; the current one is being loaded")
        covered = manifest.positions.get(self._keys.event_stream(self._keys.partition(user_id)), START)
        return _decode_person(user_id, user_hash, profile, edges, [], covered)

    def ask_for_timeline(self, user_id: str, why: str) -> None:
        """Has the person's timeline made, or made anew. What is lost beyond MAX_RETURNS is asked for at the next build."""
        self._client.xadd(self._keys.returns(), {"user_id": user_id, "why": why}, maxlen=MAX_RETURNS)

    def read_for_build(self, user_id: str, day: str) -> BuildReading:
        """What only the building of a slate needs; `day` is the UTC day, `YYYYMMDD`."""
        pipe = self._client.pipeline(transaction=False)
        pipe.get(self._keys.pulled_version())  # before the timeline: what is pulled no more is in the timeline by then
        pipe.lrange(self._keys.timeline(user_id), 0, -1)
        pipe.hgetall(self._keys.timeline_about(user_id))
        pipe.ttl(self._keys.timeline_about(user_id))
        pipe.zrange(self._keys.served_history(user_id), 0, -1, withscores=True)
        pipe.hgetall(self._keys.promoted(user_id, day))
        try:
            pulled_version, timeline, about, ttl_s, served, promoted = pipe.execute()
            pulled = self._pulled.at(int(pulled_version or 0))
        except redis.RedisError as error:
            raise Unavailable(f"Redis cannot be read, so no feed can be made: {error}") from error
        return BuildReading(
            timeline=_decode_timeline(timeline, about, ttl_s),
            pulled_version=int(pulled_version or 0),
            pulled=pulled,
            served=decode_history(served),
            promoted={int(promotion): int(count) for promotion, count in promoted.items()},
            digest=_digest([*timeline, *_flat(about), pulled_version or b"", repr(served).encode(), *_flat(promoted)]),
        )

    def write_slate(self, user_id: str, slate: Slate, value: bytes, chain: bytes, ends: SlateEnds) -> Slate | None:
        """Stores a slate as `value`, and `chain`, its place in its chain. Returns the slate in force: the one stored first under this
        id. None: its chain has already gone on from it, so it may not be made again.
        """
        keys = (
            self._keys.slate(user_id, slate.info.id),
            self._keys.chain(user_id, slate.info.id),
            self._keys.latest_slates(user_id),
            self._keys.promoted(user_id, ends.day),
        )
        promoted = slate.promotions[slate.promotions != ORGANIC].tolist()
        values = (value, ends.slate_ttl_s, chain, ends.chain_ttl_s, ends.surface or "", slate.info.id)
        try:
            kept = self._client.eval(_WRITE_SLATE, 4, *keys, *values, PROMOTED_TTL_S, *promoted)
            if kept and (other := _decode_slate(kept)) is None:  # of another release: it serves nobody
                self._client.delete(keys[0])
                return self.write_slate(user_id, slate, value, chain, ends)
        except redis.RedisError as error:
            raise Unavailable(f"Redis cannot be written, so no feed can be made: {error}") from error
        if kept is None:
            return slate
        return other if kept else None


def _decode_kept(slate_id: bytes | None, slate: bytes | None, chain: bytes | None) -> Kept:
    return Kept((slate_id or b"").decode(), _decode_slate(slate), chain)


def _decode_timeline(raw: list[bytes], about: Mapping[bytes, bytes], ttl_s: int) -> Timeline | None:
    """None as well for a damaged one: then all is pulled, and it is made anew."""
    try:
        return decode_timeline(raw, about, ttl_s)
    except CorruptValue as error:
        log.warning("a timeline is left aside: %s", error)
        return None


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
    raw: list[Any] = [profile or b"", *_flat(edges), *acts]
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
        since=since_digest(edges, acts),
        standing=_digest([*_flat(edges), *_refusals(acts)]),
    )


def _refusals(acts: list[bytes]) -> list[bytes]:
    """Hides and reports, in the order of their bytes."""
    return sorted(act for act in acts if act[-1] in (ACT_CODES["hide"], ACT_CODES["report"]))


def _flat(items: Mapping[bytes, bytes]) -> list[bytes]:
    return [part for item in sorted(items.items()) for part in item]


def _digest(parts: Iterable[bytes]) -> bytes:
    return hashlib.blake2b(b"\x1f".join(parts), digest_size=12).digest()
