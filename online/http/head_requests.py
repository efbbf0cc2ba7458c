"""HEAD: what GET would answer, without the body."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEAD = "rex.head"
"""In the scope of a request that came as HEAD."""


class HeadAsGet:
    """Middleware: routes see a GET. One whose answer has consequences asks `is_head`."""

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
