"""Cursors: opaque, signed, bound to their user; they point into one slate of a pagination session and know how the session began."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from itsdangerous import BadData, URLSafeSerializer

from online.slates.slate import Watermark

VERSION = 2
"""Changes when a cursor's content does; an older one is then refused, never misread."""


class InvalidCursor(ValueError):
    """Forged, damaged, from another version, or another user's."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the next page of a pagination session starts."""

    slate_id: str
    index: int
    """Index in the slate."""
    delivered: int
    """Items that this pagination session has delivered so far."""
    surface: str
    """Where the feed is shown; a pagination session never leaves its surface."""
    watermark: Watermark
    """Nothing newer than this is in the pagination session."""


class CursorCodec:
    """Signs with the newest key and verifies with all."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = list(keys)

    def encode(self, cursor: Cursor, user_id: str) -> str:
        """A URL-safe text."""
        mark = cursor.watermark
        content = [cursor.slate_id, cursor.index, cursor.delivered, cursor.surface]
        return str(self._serializer(user_id).dumps([VERSION, *content, mark.published_us, mark.story_id, mark.seq]))

    def decode(self, text: str, user_id: str) -> Cursor:
        """InvalidCursor unless this service made `text` for this very user."""
        try:
            version, *content = self._serializer(user_id).loads(text)
        except (BadData, ValueError, TypeError) as error:
            raise InvalidCursor(
                "the cursor was not made for this user by this service; start again without one"
            ) from error
        if version != VERSION:
            raise InvalidCursor(
                f"the cursor is of version {version}; this service reads version {VERSION}; start again without one"
            )
        slate_id, index, delivered, surface, published_us, story_id, seq = content
        return Cursor(slate_id, index, delivered, surface, Watermark(published_us, story_id, seq))

    def _serializer(self, user_id: str) -> URLSafeSerializer:
        return URLSafeSerializer(self._keys, salt=f"rex.cursor.{user_id}")


def cursor_keys(configured: Sequence[str], var: Path) -> Sequence[str]:
    """The configured keys, or one made once under `var` and shared by all processes there."""
    if configured:
        return configured
    path = var / "cursor.key"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=var, prefix=".cursor.key.") as draft:  # mode 600
        draft.write(secrets.token_urlsafe(32))
        draft.flush()
        with suppress(FileExistsError):  # then another process was first, and its key is ours
            os.link(draft.name, path)
    return [path.read_text()]
