"""Stories in: publish, change, withdraw. A withdrawal acts at once, the rest with the next snapshot."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import orjson
import redis
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from features.errors import Unavailable
from features.keys import Keys, hash64
from online.ids import Id
from online.settings import OnlineSettings

# KEYS: documents, stream. ARGV: story hash, story id, document, ttl s. Two ids with one hash cannot both be stories.
_APPEND = """
local before = redis.call('HGET', KEYS[1], ARGV[1])
if before and cjson.decode(before)['story_id'] ~= ARGV[2] then return false end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return redis.call('XADD', KEYS[2], '*', 'story', ARGV[3])
"""


class HashCollision(ValueError):
    """Another story already has the hash of this id."""


class Story(BaseModel):
    """A story as a publisher sends it."""

    model_config = ConfigDict(extra="forbid")

    author_id: Id | None = None
    publication_id: Id | None = None
    topics: list[Id] = Field(default_factory=list, max_length=32)
    language: str | None = Field(default=None, min_length=1, max_length=35)
    title: str | None = Field(default=None, max_length=1000)
    published_at: AwareDatetime
    reading_time_s: float | None = Field(default=None, ge=0, le=1e6, allow_inf_nan=False)
    visibility: Literal["public", "followers", "unlisted"] = "public"
    members_only: bool = False


class StoryIntake:
    """Appends versions of stories to the story stream; each entry is a whole document, a row of the raw lake."""

    def __init__(self, client: redis.Redis, keys: Keys, settings: OnlineSettings) -> None:
        self._client = client
        self._keys = keys
        self._settings = settings
        self._append = client.register_script(_APPEND)

    def put(self, story_id: str, story: Story, now: datetime) -> str:
        """Publishes or changes a story; returns its stream position."""
        return self._write(
            {**story.model_dump(mode="json"), "story_id": story_id, "updated_at": now.isoformat(), "deleted_at": None}
        )

    def withdraw(self, story_id: str, now: datetime, in_snapshot: dict[str, Any] | None) -> str:
        """Withdraws a story: no read of any feed that begins after this returns shows it. Returns the stream position.

        `in_snapshot` is the story's document as the snapshot has it; KeyError when neither it nor the stream knows it.
        """
        try:
            online = self._client.hget(self._keys.story_documents(), str(hash64(story_id)))
        except redis.RedisError as error:
            raise Unavailable(f"the story cannot be withdrawn now, send it again: {error}") from error
        document = orjson.loads(online) if online else in_snapshot
        if document is None or document["story_id"] != story_id:
            raise KeyError(story_id)
        return self._write({**document, "updated_at": now.isoformat(), "deleted_at": now.isoformat()})

    def _write(self, document: dict[str, Any]) -> str:
        story_id = document["story_id"]
        try:
            position = self._append(
                keys=[self._keys.story_documents(), self._keys.story_stream()],
                args=[hash64(story_id), story_id, orjson.dumps(document), self._settings.state_ttl_s],
            )
        except redis.RedisError as error:
            raise Unavailable(f"the story cannot be stored now, send it again: {error}") from error
        if position is None:
            raise HashCollision(f"the id {story_id!r} has the same 64-bit hash as another story; choose another id")
        return str(position.decode())
