"""What every request passes through before it is routed: a limit on its body, HEAD as GET, ids with slashes in the path."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 4 * 1024 * 1024
"""A thousand events, each with every field at its longest, take some 3 MB."""
_HEAD = "rex.head"
"""In the scope of a request that came as HEAD."""
SLASH = "\x1f"
"""Stands for a slash inside a segment while the path is matched; no id may hold a control character of its own."""
FORBIDDEN = "\x00"
"""Takes the place of a SLASH that the client sent, so that the id is refused."""


class BodyTooLarge(HTTPException):
    """The body of a request passes MAX_BODY_BYTES. An HTTPException, because FastAPI lets only those pass while it decodes a body."""

    def __init__(self) -> None:
        super().__init__(413, f"the body has more than {MAX_BODY_BYTES} bytes; send less at once")

    def __str__(self) -> str:
        return str(self.detail)


class BodyLimit:
    """Refuses requests before they are in memory: raises BodyTooLarge where the body is read, by its declared length or by what has come."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            declared = Headers(scope=scope).get("content-length", "0")
            receive = _bounded(receive, int(declared) if declared.isdigit() else 0)
        await self._app(scope, receive, send)


def _bounded(receive: Receive, declared: int) -> Receive:
    came = 0

    async def bounded() -> Message:
        nonlocal came
        if declared > MAX_BODY_BYTES:
            raise BodyTooLarge
        message = await receive()
        came += len(message.get("body", b""))
        if came > MAX_BODY_BYTES:
            raise BodyTooLarge
        return message

    return bounded


class HeadAsGet:
    """HEAD: what GET would answer, without the body. Routes see a GET; one whose answer has consequences asks `is_head`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app({**scope, "method": "GET", _HEAD: True}, receive, without_body)


def is_head(request: Request) -> bool:
    """Whether the request was HEAD."""
    return _HEAD in request.scope


class OpaqueSegments:
    """Ids with a slash in a path: `/v1/stories/https%3A%2F%2Fexample.org%2F1` names one story, not four path segments.

    Splits the path where the client did, before anything in it is decoded.
    """

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
