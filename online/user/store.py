"""What a request reads in Redis of one user: one pipelined round trip, and one more when a slate is built."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import redis

from features.errors import Unavailable
from features.keys import Keys, hash64
from features.packing import CorruptValue
from features.snapshot import PROFILE, Manifest
from features.snapshot_reader import gone, profile_place
from features.streams import START, StreamEntry
from online.ingest.users import with_account
from online.slates.pagination_session import Kept
from online.slates.slate_store import decode_kept, read_kept
from online.timelines.pulled import PulledTargets
from online.timelines.timeline import Timeline, decode_timeline
from online.user.build_inputs import BuildInputs
from online.user.served_history import ServedHistory, decode_history
from online.user.user import EMPTY_PROFILE, INTERACTION, UserState, decode_changes
from rex.local.faults import first_line
from rex.local.redis import Command, round_trip

log = logging.getLogger("rex.online")
Ask = Callable[[Sequence[Command]], Awaitable[list[Any]]]
"""What Redis answers to commands that only read, see `rex.local.redis.round_trip`."""

STORY_TAIL = 10_000
"""Story changes read at once; a process further behind than this reads on before it answers."""

MAX_RETURNS = 100_000
"""Users whose timelines wait to be made; at some 150 bytes each 15 MB, and minutes of work."""


def read_story_tail(client: redis.Redis, keys: Keys, position: str) -> list[StreamEntry]:
    """At most STORY_TAIL story changes after `position`, oldest first. Unavailable when Redis cannot be read."""
    try:
        tail: list[StreamEntry] = client.xrange(keys.story_stream(), f"({position}", "+", count=STORY_TAIL)  # type: ignore[assignment]
    except redis.RedisError as error:
        raise Unavailable(f"Redis cannot be read, so withdrawals are not known: {first_line(error)}") from error
    return tail


@dataclass(frozen=True, slots=True)
class Reading:
    """The answer of the one round trip a request makes before it ranks."""

    state: UserState
    kept: Kept
    """What there is of the slate asked for."""
    story_changes: list[StreamEntry]
    """Entries of the story stream after the position asked from."""


class UserStore:
    """What is known of users. Raises Unavailable when Redis cannot be read: without mutes and blocks no feed."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._pulled = PulledTargets(client, keys)

    async def read(
        self, ask: Ask, manifest: Manifest, user_id: str, *, surface: str, slate_id: str | None, story_position: str
    ) -> Reading:
        """Everything a request needs of one user; `slate_id` None: the newest slate of the surface."""
        commands = self._commands(
            manifest,
            user_id,
            ("ZREVRANGE", self._keys.interactions(user_id), 0, -1),
            ("XRANGE", self._keys.story_stream(), f"({story_position}", "+", "COUNT", STORY_TAIL),
            read_kept(self._keys, user_id, surface, slate_id),
        )
        try:
            answers = await ask(commands)
        except redis.RedisError as error:
            raise Unavailable(f"Redis cannot be read, so no feed can be made: {first_line(error)}") from error
        profile, edges, (interactions, changes, kept) = _sorted(manifest, user_id, answers)
        state = _decode_user(user_id, profile, edges, interactions, self._covered_by(manifest))
        story_changes = [(at, dict(zip(fields[::2], fields[1::2], strict=True))) for at, fields in changes]
        return Reading(state, decode_kept(*kept), story_changes)

    def read_state(self, manifest: Manifest, user_id: str) -> UserState:
        """The user without interactions: profile, and edges changed since."""
        answers = round_trip(self._client, self._commands(manifest, user_id))
        profile, edges, _ = _sorted(manifest, user_id, answers)
        return _decode_user(user_id, profile, edges, [], self._covered_by(manifest))

    def _commands(self, manifest: Manifest, user_id: str, *more: Command) -> list[Command]:
        """What asks for the user's profile, the edges changed since, and `more`; `_sorted` takes the answers."""
        bucket, place = profile_place(manifest, hash64(user_id))
        return [
            ("HGET", self._keys.users(bucket), place),
            *(("HGETALL", key) for key in self._keys.edge_hashes(user_id)),
            *more,
            # Last, because a publisher that removes an old snapshot takes it off this list first.
            ("EXISTS", self._keys.users(bucket)),
            ("ZSCORE", self._keys.versions(), manifest.version),
        ]

    def _covered_by(self, manifest: Manifest) -> Callable[[str], str]:
        """User → position up to which the snapshot holds their events."""
        return lambda user: manifest.positions.get(self._keys.event_stream(self._keys.partition(user)), START)

    def ask_for_timeline(self, user_id: str, why: str) -> None:
        """Asks for the user's timeline to be built or rebuilt. What is lost beyond MAX_RETURNS is asked for at the next build."""
        self._client.xadd(self._keys.returns(), {"user_id": user_id, "why": why}, maxlen=MAX_RETURNS)

    def read_for_build(self, user_id: str, day: str) -> BuildInputs:
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
            raise Unavailable(f"Redis cannot be read, so no feed can be made: {first_line(error)}") from error
        history, degraded = _decode_history(served)
        return BuildInputs(
            timeline=_decode_timeline(timeline, about, ttl_s),
            pulled_version=int(pulled_version or 0),
            pulled=pulled,
            served=history,
            promoted={int(promotion): int(count) for promotion, count in promoted.items()},
            degraded=degraded,
            digest=_digest([*timeline, *_flat(about), pulled_version or b"", repr(served).encode(), *_flat(promoted)]),
        )


def _sorted(
    manifest: Manifest, user_id: str, answers: Sequence[Any]
) -> tuple[bytes | None, dict[bytes, bytes], Sequence[Any]]:
    """The user's profile, the edges changed since, and what else was asked for. Unavailable: the snapshot is gone."""
    profile, follows, refusals, blocked_by, *more, bucket_there, version_there = answers
    if version_there is None or (profile_place(manifest, hash64(user_id))[0] and not bucket_there):
        raise gone(manifest.version)
    return profile, follows | refusals | blocked_by, more


def _decode_timeline(raw: list[bytes], about: Mapping[bytes, bytes], ttl_s: int) -> Timeline | None:
    """None as well for a damaged one: then everything is pulled, and it is rebuilt."""
    try:
        return decode_timeline(raw, about, ttl_s)
    except CorruptValue as error:
        log.warning("a timeline is left aside: %s", error)
        return None


def _decode_history(raw: list[tuple[bytes, float]]) -> tuple[ServedHistory, tuple[str, ...]]:
    """The history, and what a feed goes without when it is damaged: it sinks and caps, it forbids nothing."""
    try:
        return decode_history(raw), ()
    except CorruptValue as error:
        log.warning("a served history is left aside: %s", error)
        return ServedHistory(), ("served_history",)


def _decode_user(
    user_id: str,
    profile: bytes | None,
    edges: dict[bytes, bytes],
    interactions: list[bytes],
    covered: Callable[[str], str],
) -> UserState:
    packed = b"".join(interactions)
    if len(packed) != INTERACTION.itemsize * len(interactions):
        raise CorruptValue(f"interactions of {user_id}: entries must be {INTERACTION.itemsize} bytes each")
    known = with_account(PROFILE.decode(profile) if profile else EMPTY_PROFILE, edges, covered(user_id))
    return UserState(
        user_id=user_id,
        user_hash=hash64(user_id),
        profile=known,
        changes=decode_changes(edges, user_id, covered),
        interactions=np.frombuffer(packed, INTERACTION),
        digest=_digest([*_flat(edges), *interactions]),
        invalidation_digest=_digest(_flat(edges)),
    )


def _flat(items: Mapping[bytes, bytes]) -> list[bytes]:
    return [part for item in sorted(items.items()) for part in item]


def _digest(parts: Iterable[bytes]) -> bytes:
    return hashlib.blake2b(b"\x1f".join(parts), digest_size=12).digest()
