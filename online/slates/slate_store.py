"""Slates as they lie in Redis, each with its place in its pagination session and what it promotes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import redis

from features.errors import Unavailable
from features.keys import Keys
from features.lua import script
from features.packing import CorruptValue
from features.snapshot import NO_CAP
from online.slates.pagination_session import Kept
from online.slates.slate import ORGANIC, Slate
from rex.local.faults import first_line
from rex.local.redis import Command

log = logging.getLogger("rex.online")

_READ_LATEST_SLATE = script(__package__, "read_latest_slate")
_READ_SLATE = script(__package__, "read_slate")
_WRITE_SLATE = script(__package__, "write_slate")
_CAP_REACHED = 1
PROMOTED_TTL_S = 172_800
"""Caps count by UTC day; two days, so that no clock a little behind finds its day gone."""


class CapReached(Exception):
    """A promotion of the slate has had its daily cap since the slate was begun: build it again."""


@dataclass(frozen=True, slots=True)
class SlateEnds:
    """How long a new slate lives and what it counts for."""

    slate_ttl_s: int
    pagination_session_ttl_s: int
    day: str
    """UTC day on which its promotions count, `YYYYMMDD`."""
    surface: str | None
    """Surface whose newest slate it becomes; None: it continues a pagination session, and no first page comes from it."""
    caps: Mapping[int, int] = field(default_factory=dict)
    """Promotion → its daily cap, NO_CAP or absent: none."""


class SlateStore:
    """Reads and writes slates. Raises Unavailable when Redis cannot be reached."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def read(self, user_id: str, slate_id: str) -> Kept:
        """What there is of one slate, its place in its pagination session included."""
        try:
            found = self._client.mget(
                self._keys.slate(user_id, slate_id), self._keys.pagination_session(user_id, slate_id)
            )
        except redis.RedisError as error:
            raise Unavailable(f"Redis cannot be read, so no feed can be made: {first_line(error)}") from error
        return decode_kept(slate_id.encode(), *found)  # type: ignore[arg-type]

    def write(
        self, user_id: str, slate: Slate, value: bytes, pagination_session: bytes, ends: SlateEnds
    ) -> Slate | None:
        """Stores a slate as `value`, and `pagination_session`, its place in its pagination session. Returns the slate in force: the one stored first under this
        id. None: its session has already gone on from it, so it may not be made again. CapReached.
        """
        keys = (
            self._keys.slate(user_id, slate.info.id),
            self._keys.pagination_session(user_id, slate.info.id),
            self._keys.latest_slates(user_id),
            self._keys.promoted(user_id, ends.day),
        )
        placed = slate.promotions[slate.promotions != ORGANIC].tolist()
        promoted = [part for promotion in placed for part in (promotion, ends.caps.get(promotion, NO_CAP))]
        values = (
            value,
            ends.slate_ttl_s,
            pagination_session,
            ends.pagination_session_ttl_s,
            ends.surface or "",
            slate.info.id,
        )
        try:
            kept = self._client.eval(_WRITE_SLATE, 4, *keys, *values, PROMOTED_TTL_S, *promoted)
            if (
                isinstance(kept, bytes) and kept and (other := _decode_slate(kept)) is None
            ):  # of another release: it serves nobody
                self._client.delete(keys[0])
                return self.write(user_id, slate, value, pagination_session, ends)
        except redis.RedisError as error:
            raise Unavailable(f"Redis cannot be written, so no feed can be made: {first_line(error)}") from error
        if kept == _CAP_REACHED:
            raise CapReached
        if kept is None:
            return slate
        return other if kept else None


def read_kept(keys: Keys, user_id: str, surface: str, slate_id: str | None) -> Command:
    """The command that asks what there is of a slate (None: the newest of the surface); `decode_kept` reads the answer."""
    if slate_id is None:
        return "EVAL", _READ_LATEST_SLATE, 1, keys.latest_slates(user_id), surface, keys.slate(user_id, "")
    slate, session = keys.slate(user_id, slate_id), keys.pagination_session(user_id, slate_id)
    return "EVAL", _READ_SLATE, 2, slate, session, slate_id


def decode_kept(slate_id: bytes | None, slate: bytes | None, pagination_session: bytes | None) -> Kept:
    """From the slate's id, its value and that of its pagination session; None or false: not there."""
    return Kept((slate_id or b"").decode(), _decode_slate(slate), pagination_session)


def _decode_slate(data: bytes | None) -> Slate | None:
    """None as well for a slate in another form, such as an older release's: it can be built again."""
    try:
        return Slate.decode(data) if data else None
    except CorruptValue as error:
        log.warning("a cached slate is left aside: %s", error)
        return None
