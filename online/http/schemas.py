"""The forms of the API's answers, for its documentation. Answers are built as plain dicts and not validated again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WrapValidator
from pydantic.json_schema import SkipJsonSchema

from features.snapshot_reader import SnapshotAbout
from online.http import examples
from online.ingest.events import MAX_EVENTS, Event, RejectionCode
from online.rankers import explanation


class Form(BaseModel):
    """Field docstrings become the schema's descriptions."""

    model_config = ConfigDict(use_attribute_docstrings=True)


def _like(*answers: Any) -> ConfigDict:
    """With examples, which a test holds against real answers."""
    return ConfigDict(use_attribute_docstrings=True, json_schema_extra={"examples": list(answers)})


class Item(Form):
    """One story of a page."""

    story_id: str
    author_id: str | None
    publication_id: str | None
    topics: list[str]
    title: str | None
    published_at: datetime | None
    """Null: nobody knows when; stories that came into the lake without dates have none."""
    position: int
    """Items delivered before it in this pagination session."""
    score: float
    sources: list[str]
    """Providers that brought it, by priority."""
    reason: str
    promoted: bool


class SlateAbout(Form):
    """The list the page was cut from."""

    id: str
    built_at: datetime
    snapshot: str
    model: str
    variant: str
    cached: bool
    candidates: int
    """Stories that aggregation found."""


class Feed(Form):
    """One page of a ranked feed."""

    model_config = _like(examples.FEED)
    request_id: str
    """Hand it back with events, so that a read can be attributed."""
    items: list[Item]
    next_cursor: str | None
    """For the next page; null: this was the last one."""
    new_count: int
    """On a first page from a cached slate: stories newer than it that the next slate could hold; else 0."""
    story_position: str
    """Id of the last entry of the story stream that this answer reflects."""
    slate: SlateAbout
    degraded: list[str]
    """What the feed goes without; empty: nothing."""


class RejectedEvent(Form):
    """Why one event was not accepted."""

    index: int
    """Its place in the batch, from 0."""
    code: RejectionCode
    detail: str


class EventsReceipt(Form):
    """What became of a batch of events."""

    model_config = _like(examples.RECEIPT)
    accepted: int
    duplicates: int
    """Accepted before: nothing was done again."""
    rejected: list[RejectedEvent]


class StoryReceipt(Form):
    """What became of a version of a story."""

    model_config = _like(examples.STORY_RECEIPT)
    story_id: str
    position: str
    """Position in the story stream: a page whose `story_position` is not before it reflects the version in force."""
    applied: bool
    """False: a version at least as recent already exists, and this one is ignored."""


class UserReceipt(Form):
    """What became of a version of an account."""

    model_config = _like(examples.USER_RECEIPT)
    user_id: str
    position: str
    """Position in the stream of the user's partition, in which the version in force is."""
    applied: bool
    """False: a version at least as recent already exists, and this one is ignored."""


class Targets(Form):
    """Ids by what they name."""

    author: list[str]
    publication: list[str]
    topic: list[str]


class KnownUser(Form):
    """What the service knows of a user now."""

    model_config = _like(examples.USER)
    user_id: str
    known: bool
    """Whether the snapshot has a profile of the user, or an account was put since; what was sent in events since acts all the
    same."""
    created_at: datetime | None
    """Null: unknown."""
    is_member: bool
    languages: list[str]
    """Empty: any."""
    follows: Targets
    mutes: Targets
    blocks: Targets
    hides: list[str]
    """Ids of stories that are hidden, so that it can be taken back; at most 1,000. One that the snapshot does not
    hold any more is named `#` and its hash."""
    reports: list[str]
    """The same of reported stories."""
    recent_reads: list[str]
    """Ids of stories, newest first; at most 20."""
    profile_age_s: float
    """Seconds since the snapshot's data end; what changed since is in the answer all the same."""
    snapshot: str


class Snapshots(Form):
    """What is published, newest first."""

    model_config = _like(examples.SNAPSHOTS)
    snapshots: list[SnapshotAbout]


class Health(Form):
    """The process runs."""

    model_config = _like({"status": "ok"})
    status: Literal["ok"]


class Readiness(Form):
    """Feeds can be served."""

    model_config = _like(examples.READINESS)
    status: Literal["ready"]
    snapshot: str
    stories: int
    """In the snapshot."""
    story_position: str
    """Id of the last entry of the story stream that is known here."""
    warnings: list[str]
    """What may be lost, and why; empty when all is well."""


class FunnelStage(Form):
    """What one stage did with the candidates."""

    stage: str
    in_: int = Field(alias="in")
    out: int
    dropped: dict[str, int]
    """Reason → how many."""
    parts: dict[str, Any]
    """Provider → how many it brought; reason → how many entries it moved."""
    ms: float


class Move(Form):
    """One step that moved the story, places counted from 0."""

    step: str
    reason: str
    from_: int = Field(alias="from")
    to: int | None
    """Null: it left the list."""


@dataclass(frozen=True, slots=True)
class Ranking(explanation.ScoreExplanation):
    """Why the snapshot's model gave a story its score."""


class StoryPath(Form):
    """What became of one story; what did not happen to it is absent."""

    story_id: str
    known: bool
    sources: list[str] | SkipJsonSchema[None] = None
    positions: dict[str, int | None] | SkipJsonSchema[None] = None
    """Step → its place after it; null: not among them any more."""
    dropped_by: str | None = None
    """The rule that forbids it."""
    features: dict[str, float] | SkipJsonSchema[None] = None
    contributions: dict[str, float] | SkipJsonSchema[None] = None
    score: float | None = None
    rank: int | None = None
    """Candidates with a higher score."""
    moves: list[Move] | SkipJsonSchema[None] = None
    ranking: Ranking | None = None
    """When a model ranks."""


class LanguagesShown(Form):
    """The languages that decide what may be shown."""

    known_from: Literal["profile", "accept_language"] | None
    """Null: the user's languages are not known, and stories in all of them may be shown."""
    read: list[str]


class Explanation(Form):
    """The funnel of a fresh ranking, which is not kept."""

    model_config = _like(examples.EXPLANATION)
    user_id: str
    slate: SlateAbout
    stages: list[FunnelStage]
    degraded: list[str]
    languages: LanguagesShown
    story: StoryPath | None = None
    """When one was asked about."""


class FieldError(Form):
    """One thing that is wrong with a request."""

    where: str
    """`path`, `query` or `body`, and the field in it: `query.limit`."""
    what: str


class Problem(Form):
    """RFC 9457 problem details; docs/api.md lists the types."""

    type: str
    """Stable: `urn:rex:` and a name."""
    title: str
    status: int
    detail: str
    """For users."""
    errors: list[FieldError] | SkipJsonSchema[None] = None
    """Of an invalid request."""


AsSent = Annotated[Event, WrapValidator(lambda raw, _: raw)]
"""An event in the schema; taken as it comes, because one bad event must not refuse the others."""


class EventsBatch(Form):
    """Events as clients send them; each is judged on its own."""

    model_config = _like({"events": list(examples.EVENTS)}) | ConfigDict(extra="forbid")
    events: list[AsSent] = Field(json_schema_extra={"maxItems": MAX_EVENTS})
