"""Requests that are too large are refused before they are in memory."""

from __future__ import annotations

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 4 * 1024 * 1024
"""A thousand events, each with every field at its longest, take some 3 MB."""


class BodyTooLarge(HTTPException):
    """The body of a request passes MAX_BODY_BYTES. An HTTPException, because FastAPI lets only those out of its reading."""

    def __init__(self) -> None:
        super().__init__(413, f"the body has more than {MAX_BODY_BYTES} bytes; send less at once")

    def __str__(self) -> str:
        return str(self.detail)


class BodyLimit:
    """Middleware: raises BodyTooLarge where the body is read, by its declared length or by what has come."""

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
