"""An entry of the story stream, decoded: one version of one story."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from features.keys import hash64
from features.languages import known_languages
from features.packing import CorruptValue
from features.raw_datasets import VISIBILITIES
from features.times import micros


@dataclass(frozen=True, slots=True)
class StoryVersion:
    """What feeds need of a story; equal where no feed could tell the difference."""

    author_id: str | None
    publication_id: str | None
    topics: tuple[str, ...]
    """Each once."""
    language: str | None
    """See features/languages.py."""
    title: str | None
    published_us: int
    visibility: int
    """Index into VISIBILITIES."""
    members_only: bool


@dataclass(frozen=True, slots=True)
class StoryChange:
    """A story as it was put, or its withdrawal."""

    story_id: str
    story_hash: int
    version: StoryVersion | None
    """None: withdrawn."""


def decode_change(fields: Mapping[bytes, bytes]) -> StoryChange:
    """From the fields of a stream entry. CorruptValue when they do not hold a story's document."""
    try:
        document = orjson.loads(fields[b"story"])
        story_id = document["story_id"]
        version = None if document.get("deleted_at") is not None else _version(document)
        return StoryChange(story_id, hash64(story_id), version)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise CorruptValue(f"story stream: an entry holds no story ({error!r})") from error


def _version(document: dict[str, Any]) -> StoryVersion:
    topics = document.get("topics") or []
    if not isinstance(topics, list):
        raise TypeError(f"topics {topics!r} are no list")
    topics = dict.fromkeys(map(_text, topics))
    return StoryVersion(
        author_id=_text(document.get("author_id")),
        publication_id=_text(document.get("publication_id")),
        topics=tuple(topic for topic in topics if topic is not None),
        language=next(iter(known_languages([_text(document.get("language"))])), None),
        title=_text(document.get("title")),
        published_us=micros(datetime.fromisoformat(document["published_at"])),
        visibility=VISIBILITIES.index(document.get("visibility") or VISIBILITIES[0]),
        members_only=bool(document.get("members_only")),
    )


def _text(value: Any) -> str | None:
    """TypeError for what is no text: found out here, one bad entry is skipped; found out later, it stops every story table."""
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
