"""The forms of the API's answers, for its documentation. Answers are built as plain dicts and not validated again."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from online.events import RejectionCode


class Item(BaseModel):
    """One story of a page."""

    story_id: str
    author_id: str | None
    publication_id: str | None
    topics: list[str]
    title: str | None
    published_at: datetime
    position: int
    """Items delivered before it in this chain of cursors."""
    score: float
    sources: list[str]
    """Providers that brought it, most telling first."""
    reason: str
    promoted: bool


class SlateAbout(BaseModel):
    """The list the page was cut from."""

    id: str
    built_at: datetime
    snapshot: str
    model: str
    variant: str
    cached: bool
    candidates: int
    """Stories that aggregation found."""


class Feed(BaseModel):
    """One page of a ranked feed."""

    request_id: str
    """Hand it back with events, so that a read can be attributed."""
    items: list[Item]
    next_cursor: str | None
    new_count: int
    """On a first page from a cached slate: stories newer than it that the next slate could hold; else 0."""
    story_position: str
    """Id of the last entry of the story stream that this answer reflects."""
    slate: SlateAbout
    degraded: list[str]


class RejectedEvent(BaseModel):
    """Why one event was not accepted."""

    index: int
    code: RejectionCode
    detail: str


class EventsReceipt(BaseModel):
    """What became of a batch of events."""

    accepted: int
    duplicates: int
    rejected: list[RejectedEvent]


class StoryReceipt(BaseModel):
    """A story's change is in the stream."""

    story_id: str
    position: str
    """Id of its entry; a page whose `story_position` is not before it reflects the change."""
    applied: bool
    """False: a version at least as late was there, and this one changes nothing."""


class StageTold(BaseModel):
    """What one stage did with the candidates."""

    stage: str
    in_: int = Field(alias="in")
    out: int
    dropped: dict[str, int]
    """Reason → how many."""
    parts: dict[str, Any]
    """Provider → how many it brought; reason → how many entries it moved."""
    ms: float


class Move(BaseModel):
    """One step that moved the story, places counted from 0."""

    step: str
    reason: str
    from_: int = Field(alias="from")
    to: int | None
    """Null: it left the list."""


class StoryPath(BaseModel):
    """What became of one story; what did not happen to it is absent."""

    story_id: str
    known: bool
    sources: list[str] = []
    positions: dict[str, int | None] = {}
    """Step → its place after it; null: not among them any more."""
    dropped_by: str | None = None
    """The rule that forbids it."""
    features: dict[str, float] = {}
    contributions: dict[str, float] = {}
    score: float | None = None
    rank: int | None = None
    moves: list[Move] = []


class Explanation(BaseModel):
    """The funnel of a fresh ranking, which is not kept."""

    user_id: str
    slate: SlateAbout
    stages: list[StageTold]
    degraded: list[str]
    story: StoryPath | None = None
    """When one was asked about."""


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str


class EventsBatch(BaseModel):
    """Events as clients send them; each is judged on its own."""

    events: list[Any]
