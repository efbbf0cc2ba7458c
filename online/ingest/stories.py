"""Stories in: publish, change, withdraw. Each is an entry of the story stream, which every serving process follows.

Ids are found by their 64-bit hashes: two with one hash cannot both be known. That is refused here, before a publish has to stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, cast

import orjson
import redis
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from features.errors import Unavailable
from features.keys import Keys, hash64
from features.languages import MAX_TAG, canonical
from features.lua import script
from features.streams import START
from online.clock import Moment
from online.http import examples as api_examples
from online.ingest.ids import Id
from online.service_settings import OnlineSettings
from online.story_table.names import Names
from online.story_table.table import StoryTable
from rex.local.faults import first_line

Document = dict[str, Any]
"""A version of a story as it lies in the stream: a row of the raw lake's `stories`."""
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
"""Where machines begin to count; older texts come in through the lake."""
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
"""A story scheduled for later than this is a mistake in the date."""


class HashCollision(ValueError):
    """Another story, author, publication or topic already has the hash of this id."""


class OlderVersion(Exception):
    """A version at least as late is in force."""


class Story(BaseModel):
    """A story as a publisher sends it."""

    model_config = ConfigDict(
        extra="forbid", use_attribute_docstrings=True, json_schema_extra={"examples": [api_examples.STORY]}
    )

    author_id: Id | None = None
    publication_id: Id | None = None
    topics: list[Id] | None = Field(default=None, max_length=32)
    """Most fitting first; null: none."""
    language: Annotated[str | None, AfterValidator(canonical)] = Field(default=None, max_length=MAX_TAG)
    title: str | None = Field(default=None, max_length=1000)
    published_at: Moment = Field(ge=EARLIEST, le=LATEST)
    reading_time_s: float | None = Field(default=None, ge=0, le=1e6, allow_inf_nan=False)
    visibility: Literal["public", "followers", "unlisted"] | None = None
    """Null: public."""
    members_only: bool | None = None
    """Null: false."""
    updated_at: Moment | None = Field(default=None, ge=EARLIEST)
    """When this version came to be; one that is not later than the version in force is ignored. Null: now."""


class StoryIntake:
    """Appends versions of stories to the story stream; each entry is a whole document, a row of the raw lake."""

    def __init__(self, client: redis.Redis, keys: Keys, settings: OnlineSettings) -> None:
        self._client = client
        self._keys = keys
        self._settings = settings
        self._append = client.register_script(script(__package__, "append_story"))

    def put(self, story_id: str, story: Story, now: datetime, in_snapshot: Document | None = None) -> tuple[str, bool]:
        """Publishes or changes a story. Its stream position, and whether it applied: an older version changes nothing, and
        the position is then one at which the version in force can be seen.

        `in_snapshot` is the story's document as the snapshot has it, None: it does not know the story.
        """
        sent = story.model_dump(mode="json")

        def made_of(before: Document | None) -> Document:
            return {
                **sent,
                "story_id": story_id,
                **dated((before, in_snapshot), story.updated_at, now),
                "deleted_at": None,
            }

        try:
            return self._write(story_id, made_of), True
        except OlderVersion:
            return last_position(self._client, self._keys.story_stream()), False

    def withdraw(self, story_id: str, now: datetime, in_snapshot: Document | None) -> str:
        """Withdraws a story: no read of any feed that begins after this returns shows it. Returns the stream position.

        `in_snapshot` is the story's document as the snapshot has it; KeyError when neither it nor the stream knows it.
        """

        def made_of(before: Document | None) -> Document:
            document = before or in_snapshot
            if document is None or document["story_id"] != story_id:
                raise KeyError(story_id)
            times = dated((before, in_snapshot), None, now)
            return {**document, **times, "deleted_at": times["updated_at"]}

        return self._write(story_id, made_of)

    def _write(self, story_id: str, made_of: Callable[[Document | None], Document]) -> str:
        """Appends what `made_of` makes of the latest document online; anew, as often as somebody else was faster."""
        position = b""
        while not position:
            before = self._online(story_id)
            position = self._append_after(before, story_id, made_of(orjson.loads(before) if before else None))
        return position.decode()

    def _online(self, story_id: str) -> bytes:
        """The latest document put online under this id's hash; empty: none was."""
        try:
            document = self._client.hget(self._keys.story_documents(), str(hash64(story_id)))
            return cast("bytes | None", document) or b""
        except redis.RedisError as error:
            raise Unavailable(f"the story cannot be changed now, send it again: {first_line(error)}") from error

    def _append_after(self, before: bytes, story_id: str, document: Document) -> bytes:
        """The stream position; empty when `before` is not the latest document any more."""
        try:
            position: bytes | None = self._append(
                keys=[self._keys.story_documents(), self._keys.story_stream()],
                args=[hash64(story_id), story_id, orjson.dumps(document), self._settings.ingest.state_ttl_s, before],
            )
        except redis.RedisError as error:
            raise Unavailable(f"the story cannot be stored now, send it again: {first_line(error)}") from error
        if position is None:
            raise HashCollision(f"the id {story_id!r} has the same 64-bit hash as another story; choose another id")
        return position


def dated(before: Iterable[Document | None], updated_at: datetime | None, now: datetime) -> Document:
    """Times of a version that arrives `now` after those `before`. OlderVersion when it is not later than each of them.

    Without a time of its own it is of `now`, but later than those before also when a clock has stepped back: the last
    one said is the latest.
    """
    known = [datetime.fromisoformat(each["updated_at"]) for each in before if each and "updated_at" in each]
    if updated_at is None:
        at = max([now, *(last + timedelta(microseconds=1) for last in known)])
    else:
        at = updated_at.astimezone(UTC)
    if any(at <= last for last in known):
        raise OlderVersion
    return {"updated_at": at.isoformat(), "received_at": now.isoformat()}


def last_position(client: redis.Redis, stream: str) -> str:
    """Id of the last entry the stream ever had; START before the first. Unavailable when Redis cannot be read."""
    try:
        position: bytes = client.xinfo_stream(stream)["last-generated-id"]
    except redis.RedisError as error:
        if "no such key" in str(error):  # nothing was put since Redis was emptied: all there is, is the snapshot's
            return START
        raise Unavailable(f"{stream} cannot be read now, send it again: {error}") from error
    return position.decode()


def refuse_collisions(story_table: StoryTable, story_id: str, story: Story) -> None:
    """HashCollision when the story, or a name that it brings, has the hash of another one that the story table knows."""
    row = story_table.row(story_id)
    if row >= 0:
        _refuse_other(story_table.story_id(row), story_id)
    _refuse(story_table.authors, [story.author_id])
    _refuse(story_table.publications, [story.publication_id])
    _refuse(story_table.topic_names, story.topics or [])


def _refuse(names: Names, idents: Sequence[str | None]) -> None:
    of_hash: dict[int, str] = {}
    for ident, index in zip(idents, names.find(idents).tolist(), strict=True):
        if ident is not None:
            _refuse_other(names.id(index) or ident, ident)
            _refuse_other(of_hash.setdefault(hash64(ident), ident), ident)


def _refuse_other(known: str, ident: str) -> None:
    if known != ident:
        raise HashCollision(f"the id {ident!r} has the same 64-bit hash as {known!r}; choose another id")
