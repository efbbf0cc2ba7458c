"""Errors as RFC 9457 problem details."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import orjson
import redis
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException

from features.errors import Unavailable
from features.packing import CorruptValue
from local.faults import first_line
from online.body_limit import BodyTooLarge
from online.chain import CursorExpired
from online.cursor import InvalidCursor
from online.metrics import Metrics
from online.stories import HashCollision

log = logging.getLogger("rex.online")
RETRY_AFTER_S = 1
"""A new snapshot or a restarted Redis is picked up within about a second."""


def problem(status: int, kind: str, detail: str, **more: object) -> Response:
    """An `application/problem+json` answer; `kind` is the stable machine-readable name."""
    body = {"type": f"urn:rex:{kind}", "title": kind.replace("_", " "), "status": status, "detail": detail, **more}
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else {}
    return Response(orjson.dumps(body), status, headers, "application/problem+json")


_KINDS: dict[type[Exception], tuple[int, str]] = {
    InvalidCursor: (400, "invalid_cursor"),
    CursorExpired: (410, "cursor_expired"),
    HashCollision: (409, "hash_collision"),
    BodyTooLarge: (413, "body_too_large"),
    Unavailable: (503, "unavailable"),
    CorruptValue: (503, "corrupt_value"),
    redis.RedisError: (503, "unavailable"),
}


_NAMES = {404: "not_found", 405: "method_not_allowed", 413: "too_many_events"}


def install(app: FastAPI, metrics: Metrics) -> None:
    """Every error of the app becomes a problem, and is counted. On the event loop: never behind threads that wait for Redis."""

    def counted(status: int, kind: str, detail: str, **more: object) -> Response:
        metrics.problems.labels(kind).inc()
        return problem(status, kind, detail, **more)

    def known(status: int, kind: str) -> Callable[[Request, Exception], Awaitable[Response]]:
        async def handle(request: Request, error: Exception) -> Response:
            if status == 503:
                log.error("%s %s: %s", request.method, request.url.path, error)
            return counted(status, kind, first_line(error) if isinstance(error, redis.RedisError) else str(error))

        return handle

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        errors = [{"where": ".".join(map(str, e["loc"])), "what": e["msg"]} for e in error.errors()]
        detail = "; ".join(f"{e['where']}: {e['what']}" for e in errors)
        return counted(422, "invalid_request", detail, errors=jsonable_encoder(errors))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException | StarletteHTTPException)
        return counted(
            error.status_code,
            _NAMES.get(error.status_code, "http_error"),
            str(error.detail),
        )

    async def unexpected(request: Request, error: Exception) -> Response:
        log.exception("%s %s failed", request.method, request.url.path, exc_info=error)
        return counted(500, "internal_error", "the request failed here; the log says why")

    for kind, (status, name) in _KINDS.items():
        app.add_exception_handler(kind, known(status, name))
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(StarletteHTTPException, http)
    app.add_exception_handler(Exception, unexpected)
