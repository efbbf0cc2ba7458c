"""Events in: validated one by one, applied to the user's state and appended to the stream, atomically and once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import orjson
import redis
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from features.choices import BLOCKED_BY, CHOICES, EDGE_TYPES, ENDS_FOLLOWS, REFUSALS, applies_on_arrival, ended_by
from features.errors import Unavailable
from features.interactions import EVENT_TYPES, ONLINE_CODES
from features.keys import Keys, hash64
from features.lua import script
from features.raw_datasets import CLOCK_SKEW_S, EARLIEST
from features.times import micros, rfc3339
from online.clock import Moment
from online.http import examples as api_examples
from online.ingest.ids import Id
from online.service_settings import OnlineSettings
from rex.local.faults import first_line

TYPES = (*EVENT_TYPES, *EDGE_TYPES)
"""Every type an event may have."""
MAX_EVENT_BYTES = 16_384
"""Of one event as JSON; a well-formed one, with every field at its longest, takes some 3 kB."""
MAX_DETAIL_CHARACTERS = 300
"""Of the reason given for one event: an answer must not echo a thousand long mistakes."""
MAX_EVENTS = 1000
"""Events of one request; more is refused, so that one client cannot hold a worker."""

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
    """The user's own; sent again within `REX_ONLINE_INGEST_EVENT_WINDOW_S` (48 hours), it changes nothing."""
    user_id: Id
    type: Literal[*TYPES]  # type: ignore[valid-type]  # mypy takes no unpacked tuple here
    story_id: Id | None = None
    """Needed by all types but those of edges."""
    target_type: Literal["author", "publication", "topic"] | None = None
    target_id: Id | None = None
    """Needed, with target_type, by follow, unfollow, mute, unmute, block and unblock."""
    occurred_at: Moment = Field(ge=EARLIEST)
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


RejectionCode = Literal[
    "malformed", "oversized", "unknown_type", "in_the_future", "too_many_edges", "too_many_refusals"
]


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
        self._apply = client.register_script(script(__package__, "apply_event"))
        self._mirror = client.register_script(script(__package__, "mirror_block"))

    def accept(self, raw_events: Sequence[Any], now: datetime) -> Receipt:
        """Validates and applies; an accepted event is in the stream and in the user's state when this returns."""
        events, rejected = _validated(raw_events, now)
        try:
            outcomes = dict(zip(events, self._apply_all(list(events.values()), now), strict=True))
        except redis.RedisError as error:
            raise Unavailable(f"events cannot be stored now, send them again: {first_line(error)}") from error
        codes = [code for code, _ in outcomes.values()]
        rejected += [self._no_room(index, events[index]) for index, (code, _) in outcomes.items() if code == _TOO_MANY]
        rejected.sort(key=lambda one: one.index)
        return Receipt(codes.count(1), codes.count(0), tuple(rejected))

    def _apply_all(self, events: Sequence[Event], now: datetime) -> list[tuple[int, bytes]]:
        """Of each event what became of it, and the state of its edge, if it is of one and had room. In order: what comes
        after a block in a batch finds the follows ended."""
        outcomes: list[tuple[int, bytes]] = []
        waiting: list[Event] = []
        for event in events:
            waiting.append(event)
            if (CHOICES.get(event.type, "-")[0], event.target_type) == ENDS_FOLLOWS:
                outcomes += self._apply_some(waiting, now)
                self._act_on_the_other_side(event, outcomes[-1][1], now)
                waiting = []
        return outcomes + self._apply_some(waiting, now)

    def _apply_some(self, events: Sequence[Event], now: datetime) -> list[tuple[int, bytes]]:
        """As `_apply_all`, of events without the other side."""
        pipe = self._client.pipeline(transaction=False)
        for event in events:
            self._apply(keys=self._keys_of(event), args=self._arguments(event, now), client=pipe)
        return [(code, state or b"") for code, state in pipe.execute()] if events else []

    def _act_on_the_other_side(self, block: Event, state: bytes, now: datetime) -> None:
        """A block is known to both, and ends the follows between them. `state`: of its edge; empty: it was refused.

        Done again with every repetition, so that a client that got no answer and sends a block again completes it.
        """
        if not state:
            return
        pipe = self._client.pipeline(transaction=False)
        key, field = self._keys.blocked_by(block.target_id or ""), _field(BLOCKED_BY, "author", block.user_id)
        self._mirror(keys=[key], args=[field, state, self._settings.ingest.state_ttl_s], client=pipe)
        if block.type == "block" and state.split(b"|")[1] == b"add":
            for end in _ended_follows(block):
                self._apply(keys=self._keys_of(end), args=self._arguments(end, now, of_block=True), client=pipe)
        pipe.execute()

    def _no_room(self, index: int, event: Event) -> Rejected:
        code: RejectionCode = "too_many_edges" if event.type in ("follow", "unfollow") else "too_many_refusals"
        if code == "too_many_edges":
            kept, what = self._settings.ingest.edges_kept, "follows"
        else:
            what = f"{', '.join(f'{kind}s' for kind in REFUSALS[:-1])} and {REFUSALS[-1]}s"
            kept = self._settings.ingest.refusals_kept
        return Rejected(index, code, f"{kept} changed {what} wait for a snapshot; send it after the next")

    def _keys_of(self, event: Event) -> list[str]:
        user = event.user_id
        if event.type in CHOICES:
            state = self._keys.refusals(user) if CHOICES[event.type][0] in REFUSALS else self._keys.edges(user)
        else:
            state = self._keys.interactions(user)
        stream = self._keys.event_stream(self._keys.partition(user))
        return [self._keys.event_seen(user, event.event_id), stream, state]

    def _arguments(self, event: Event, now: datetime, of_block: bool = False) -> list[Any]:
        document = event.model_dump(exclude_none=True, mode="json")
        occurred_us = micros(event.occurred_at)
        if event.type in CHOICES:
            kind, op = CHOICES[event.type]
            target = (event.target_type, event.target_id) if event.type in EDGE_TYPES else ("story", event.story_id)
            kept = self._settings.ingest.refusals_kept if kind in REFUSALS else self._settings.ingest.edges_kept
            at_once = of_block or applies_on_arrival(kind, op)
            how = [occurred_us, op, 0 if of_block else kept, int(at_once), micros(now)]
            shared = [self._settings.ingest.event_window_s, orjson.dumps(document), self._settings.ingest.state_ttl_s]
            return [*shared, "choice", _field(kind, target[0] or "", target[1] or ""), *how]
        document["received_at"] = now.isoformat()
        shared = [self._settings.ingest.event_window_s, orjson.dumps(document), self._settings.ingest.state_ttl_s]
        if event.type in ONLINE_CODES:
            member = hash64(event.story_id or "").to_bytes(8, "little", signed=True) + bytes([ONLINE_CODES[event.type]])
            return [*shared, "interaction", member, occurred_us // 1000, self._settings.ingest.interactions_kept]
        return [*shared, "none"]


def _field(kind: str, target_type: str, target_id: str) -> str:
    return f"{kind}|{target_type}|{hash64(target_id)}|{target_id}"


def _ended_follows(block: Event) -> list[Event]:
    """The ends of the follows between a user and whom they block, at the time of the block."""
    pair = (block.user_id, block.target_id or "")
    return [
        Event(
            event_id=ended_by(block.user_id, block.event_id, side),
            user_id=user,
            type="unfollow",
            target_type="author",
            target_id=other,
            occurred_at=block.occurred_at,
        )
        for side, (user, other) in enumerate((pair, pair[::-1]))
    ]


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
        raise _Refused("malformed", _described(error)) from error
    if event.occurred_at > now + timedelta(seconds=CLOCK_SKEW_S):
        raise _Refused(
            "in_the_future",
            f"occurred_at {rfc3339(event.occurred_at)} is more than {CLOCK_SKEW_S} s ahead of the service's clock,"
            f" which says {rfc3339(now)}",
        )
    # A clock a little ahead must not put a change behind a later one, or after a snapshot that holds it.
    return event.model_copy(update={"occurred_at": min(event.occurred_at, now)})


def _size(raw: Any) -> int:
    try:
        return len(orjson.dumps(raw))
    except orjson.JSONEncodeError as error:  # half a character, an endless number, a hundred levels
        raise _Refused("malformed", f"event: {error}") from error


def _described(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, e['loc'])) or 'event'}: {e['msg'].removeprefix('Value error, ')}"
        for e in error.errors(include_input=False)
    )
