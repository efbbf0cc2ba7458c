"""Ids with a slash in a path: `/v1/stories/https%3A%2F%2Fexample.org%2F1` names one story, not four path segments."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Receive, Scope, Send

SLASH = "\x1f"
"""Stands for a slash inside a segment while the path is matched; no id may hold a control character of its own."""
FORBIDDEN = "\x00"
"""Takes the place of a SLASH that the client sent, so that the id is refused."""


class OpaqueSegments:
    """Middleware: splits the path where the client did, before anything in it is decoded."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope.get("raw_path"):
            segments = scope["raw_path"].split(b"/")
            scope = {**scope, "path": "/".join(_opaque(unquote_to_bytes(segment)) for segment in segments)}
        await self._app(scope, receive, send)


def _opaque(segment: bytes) -> str:
    """Bytes that are not UTF-8 become lone surrogates, which no id may hold: replaced, two ids would become one."""
    return segment.decode("utf-8", "surrogateescape").replace(SLASH, FORBIDDEN).replace("/", SLASH)


def restored(segment: str) -> str:
    """The segment as the client meant it."""
    return segment.replace(SLASH, "/")
