"""Events in: validated one by one, applied to the person's state and appended to the stream, atomically and once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import orjson
import redis
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from features.errors import Unavailable
from features.keys import Keys, hash64
from features.raw_datasets import CLOCK_SKEW_S, EVENT_TYPES
from features.times import rfc3339
from online import api_examples
from online.clock import micros
from online.ids import Id
from online.person import ACT_CODES
from online.settings import OnlineSettings

EDGE_TYPES = {
    "follow": ("follow", "add"),
    "unfollow": ("follow", "remove"),
    "mute": ("mute", "add"),
    "unmute": ("mute", "remove"),
    "block": ("block", "add"),
    "unblock": ("block", "remove"),
}
"""Event type → kind and operation of the edge."""
TYPES = (*EVENT_TYPES, *EDGE_TYPES)
"""Every type an event may have."""
MAX_EVENT_BYTES = 16_384
"""Of one event as JSON; a well-formed one, with every field at its longest, takes some 3 kB."""
MAX_DETAIL_CHARACTERS = 300
"""Of the reason told for one event: an answer must not echo a thousand long mistakes."""
MAX_EVENTS = 1000
"""Events of one request; more is refused, so that one client cannot hold a worker."""
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
"""Nothing on a site is older; what claims to be comes from a clock that was never set."""

# KEYS: seen, stream, state (edges or acts). ARGV: window s, event, state ttl s, what, then per kind:
# edge: field, occurred_us, op, how many are kept; act: member, occurred_ms, how many are kept, and the
# code from which on an act is a refusal: those go last, or a hidden story would be back after many opens.
# Answers 1 applied, 0 seen before, -1 too many edges. An edge keeps the latest change by occurred_us, so that events
# arriving out of order do not undo a later one. Edges from before the stream's first entry are in every kept snapshot.
_APPLY = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local before = false
if ARGV[4] == 'edge' then
  before = redis.call('HGET', KEYS[3], ARGV[5])
  if not before and redis.call('HLEN', KEYS[3]) >= tonumber(ARGV[8]) then
    local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
    local since = first and tonumber(string.match(first[1], '^%d+')) or math.huge
    local edges = redis.call('HGETALL', KEYS[3])
    for i = 1, #edges, 2 do
      if tonumber(string.match(edges[i + 1], '(%d+)%-%d+$')) < since then redis.call('HDEL', KEYS[3], edges[i]) end
    end
    if redis.call('HLEN', KEYS[3]) >= tonumber(ARGV[8]) then return -1 end
  end
end
redis.call('SET', KEYS[1], '1', 'EX', ARGV[1])
local id = redis.call('XADD', KEYS[2], '*', 'event', ARGV[2])
if ARGV[4] == 'edge' then
  if not before or tonumber(string.match(before, '^-?%d+')) <= tonumber(ARGV[6]) then
    redis.call('HSET', KEYS[3], ARGV[5], ARGV[6] .. '|' .. ARGV[7] .. '|' .. id)
  end
  redis.call('EXPIRE', KEYS[3], ARGV[3])
elseif ARGV[4] == 'act' then
  redis.call('ZADD', KEYS[3], 'GT', ARGV[6], ARGV[5])
  local over, kept = redis.call('ZCARD', KEYS[3]) - tonumber(ARGV[7]), 0
  while over > 0 do
    local oldest = redis.call('ZRANGE', KEYS[3], kept, kept + 99)
    if #oldest == 0 then redis.call('ZREMRANGEBYRANK', KEYS[3], 0, over - 1) break end
    for _, act in ipairs(oldest) do
      if over > 0 and string.byte(act, -1) < tonumber(ARGV[8]) then
        redis.call('ZREM', KEYS[3], act)
        over = over - 1
      else
        kept = kept + 1
      end
    end
  end
  redis.call('EXPIRE', KEYS[3], ARGV[3])
end
return 1
"""
_TOO_MANY = -1


class Event(BaseModel):
    """One event as clients send it: about a story (`story_id`), or a change of an edge (`target_type` and `target_id`)."""

    model_config = ConfigDict(
        extra="forbid",
        strict=False,
        use_attribute_docstrings=True,
        json_schema_extra={"examples": list(api_examples.EVENTS)},
    )

    event_id: Id
    """The user's own; sent again, it changes nothing for 48 hours."""
    user_id: Id
    type: Literal[*TYPES]  # type: ignore[valid-type]
    story_id: Id | None = None
    """Needed by all types but those of edges."""
    target_type: Literal["author", "publication", "topic"] | None = None
    target_id: Id | None = None
    """Needed, with target_type, by follow, unfollow, mute, unmute, block and unblock."""
    occurred_at: AwareDatetime = Field(ge=EARLIEST)
    dwell_s: float | None = Field(default=None, ge=0, le=86_400, allow_inf_nan=False)
    claps: int | None = Field(default=None, ge=0, le=50)
    request_id: Id | None = None
    """Of the page that showed the story, so that a read can be attributed; and the item's `position`."""
    position: int | None = Field(default=None, ge=0, le=1_000_000)
    source: Id | None = None
    propensity: float | None = Field(default=None, gt=0, le=1, allow_inf_nan=False)

    @model_validator(mode="after")
    def _names_its_object(self) -> Event:
        if self.type in EDGE_TYPES and (self.target_type is None or self.target_id is None):
            raise ValueError(f"{self.type} needs target_type and target_id")
        if self.type not in EDGE_TYPES and self.story_id is None:
            raise ValueError(f"{self.type} needs story_id")
        return self


RejectionCode = Literal["malformed", "oversized", "unknown_type", "in_the_future", "too_many_edges"]


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why one event of a batch was not accepted."""

    index: int
    code: RejectionCode
    detail: str


class _Refused(ValueError):
    """What is wrong with one event."""

    def __init__(self, code: RejectionCode, detail: str) -> None:
        super().__init__(detail[:MAX_DETAIL_CHARACTERS])
        self.code = code


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a batch."""

    accepted: int
    duplicates: int
    rejected: tuple[Rejected, ...]


class EventIntake:
    """Accepts batches of events. A batch is not one transaction: each event is."""

    def __init__(self, client: redis.Redis, keys: Keys, settings: OnlineSettings) -> None:
        self._client = client
        self._keys = keys
        self._settings = settings
        self._apply = client.register_script(_APPLY)
        self._too_many = (
            f"{settings.edges_kept} changed follows, mutes and blocks wait for a snapshot; send it after the next"
        )

    def accept(self, raw_events: Sequence[Any], now: datetime) -> Receipt:
        """Validates and applies; an accepted event is in the stream and in the person's state when this returns."""
        events, rejected = _validated(raw_events, now)
        pipe = self._client.pipeline(transaction=False)
        for event in events.values():
            self._apply(keys=self._keys_of(event), args=self._arguments(event, now), client=pipe)
        try:
            outcomes: list[int] = pipe.execute() if events else []
        except redis.RedisError as error:
            raise Unavailable(f"events cannot be stored now, send them again: {error}") from error
        refused = [index for index, outcome in zip(events, outcomes, strict=True) if outcome == _TOO_MANY]
        rejected += [Rejected(index, "too_many_edges", self._too_many) for index in refused]
        rejected.sort(key=lambda one: one.index)
        return Receipt(outcomes.count(1), outcomes.count(0), tuple(rejected))

    def _keys_of(self, event: Event) -> list[str]:
        user = event.user_id
        state = self._keys.edges(user) if event.type in EDGE_TYPES else self._keys.acts(user)
        stream = self._keys.event_stream(self._keys.partition(user))
        return [self._keys.event_seen(user, event.event_id), stream, state]

    def _arguments(self, event: Event, now: datetime) -> list[Any]:
        document = event.model_dump(exclude_none=True, mode="json") | {"received_at": now.isoformat()}
        shared = [self._settings.event_window_s, orjson.dumps(document), self._settings.state_ttl_s]
        occurred_us = micros(event.occurred_at)
        if event.type in EDGE_TYPES:
            kind, op = EDGE_TYPES[event.type]
            target = f"{kind}|{event.target_type}|{hash64(event.target_id or '')}|{event.target_id}"
            return [*shared, "edge", target, occurred_us, op, self._settings.edges_kept]
        if event.type in ACT_CODES:
            member = hash64(event.story_id or "").to_bytes(8, "little", signed=True) + bytes([ACT_CODES[event.type]])
            return [*shared, "act", member, occurred_us // 1000, self._settings.acts_kept, ACT_CODES["hide"]]
        return [*shared, "none"]


def _validated(raw_events: Iterable[Any], now: datetime) -> tuple[dict[int, Event], list[Rejected]]:
    events, rejected = {}, []
    for index, raw in enumerate(raw_events):
        try:
            events[index] = _event(raw, now)
        except _Refused as refused:
            rejected.append(Rejected(index, refused.code, str(refused)))
    return events, rejected


def _event(raw: Any, now: datetime) -> Event:
    size = _size(raw)
    if size > MAX_EVENT_BYTES:
        raise _Refused("oversized", f"the event takes {size} bytes as JSON; at most {MAX_EVENT_BYTES} are allowed")
    named = raw.get("type") if isinstance(raw, dict) else None
    if isinstance(named, str) and named not in TYPES:
        raise _Refused("unknown_type", f"type: {named[:64]!r} is none of {', '.join(TYPES)}")
    try:
        event = Event.model_validate(raw)
    except ValidationError as error:
        raise _Refused("malformed", _told(error)) from error
    if event.occurred_at > now + timedelta(seconds=CLOCK_SKEW_S):
        raise _Refused("in_the_future", f"occurred_at {rfc3339(event.occurred_at)} lies ahead of {rfc3339(now)}")
    # A clock a little ahead must not put a change behind a later one, or after a snapshot that holds it.
    return event.model_copy(update={"occurred_at": min(event.occurred_at, now)})


def _size(raw: Any) -> int:
    try:
        return len(orjson.dumps(raw))
    except orjson.JSONEncodeError as error:  # half a character, an endless number, a hundred levels
        raise _Refused("malformed", f"event: {error}") from error


def _told(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, e['loc'])) or 'event'}: {e['msg']}" for e in error.errors(include_input=False)
    )
