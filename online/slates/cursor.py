"""Cursors: opaque, signed, bound to their user; they point into one slate of a pagination session and know how the session began."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import orjson
from itsdangerous import BadData, Signer
from itsdangerous.encoding import base64_decode, base64_encode

from online.slates.slate import Watermark

VERSION = 3
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
        self._signer = Signer(list(keys), salt="rex.cursor")
        self._newest = self._signer.derive_key()

    def encode(self, cursor: Cursor, user_id: str) -> str:
        """A URL-safe text."""
        mark = cursor.watermark
        content = [cursor.slate_id, cursor.index, cursor.delivered, cursor.surface]
        text = base64_encode(orjson.dumps([VERSION, *content, mark.published_us, mark.story_id, mark.seq]))
        signature = self._signer.algorithm.get_signature(self._newest, _of_user(text, user_id))
        return b".".join((text, base64_encode(signature))).decode()

    def decode(self, text: str, user_id: str) -> Cursor:
        """InvalidCursor unless this service made `text` for this very user."""
        try:
            content, _, signature = text.encode().rpartition(b".")
            if not self._signer.verify_signature(_of_user(content, user_id), signature):
                raise BadData("the signature does not fit")
            version, *fields = orjson.loads(base64_decode(content))
        except (BadData, ValueError) as error:
            raise InvalidCursor(
                "the cursor was not made for this user by this service; start again without one"
            ) from error
        if version != VERSION:
            raise InvalidCursor(
                f"the cursor is of version {version}; this service reads version {VERSION}; start again without one"
            )
        slate_id, index, delivered, surface, published_us, story_id, seq = fields
        return Cursor(slate_id, index, delivered, surface, Watermark(published_us, story_id, seq))


def _of_user(content: bytes, user_id: str) -> bytes:
    """What is signed: the content, which has no dot, and whose it is."""
    return b".".join((content, user_id.encode()))


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
