"""Errors as RFC 9457 problem details: what there is, once, for handlers, the schema and docs/api.md."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import redis
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.routing import Match

from features.errors import Unavailable
from features.packing import CorruptValue
from online.http import examples as api_examples
from online.http.middleware import MAX_BODY_BYTES, BodyTooLarge
from online.http.schemas import Problem
from online.ingest.events import MAX_EVENTS
from online.ingest.stories import HashCollision
from online.metrics import Metrics
from online.slates.cursor import InvalidCursor
from online.slates.pagination_session import CursorExpired
from rex.local.faults import first_line

log = logging.getLogger("rex.online")
MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
"""A new snapshot or a restarted Redis is picked up within about a second."""
NO_STORE = {"Cache-Control": "private, no-store"}
"""Every answer is one user's at one moment; of problems caches would keep 404, 405 and 410 unasked."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem; `type` is `urn:rex:` and the name."""

    status: int
    name: str
    remedy: str
    """What a client that gets it should do."""


PROBLEMS = (
    Kind(400, "invalid_cursor", "start again without a cursor"),
    Kind(
        403,
        "origin_not_allowed",
        "`detail` says whether the origin, the method or a header is not allowed, and by what",
    ),
    Kind(404, "not_found", "look at the path, which has no slash at its end, and at the id"),
    Kind(405, "method_not_allowed", "use one of the methods in `Allow`"),
    Kind(409, "hash_collision", "choose another id: `detail` says for what, and which id has the same 64-bit hash"),
    Kind(410, "cursor_expired", "start again without a cursor"),
    Kind(413, "body_too_large", f"send at most {MAX_BODY_BYTES >> 20} MiB at once"),
    Kind(413, "too_many_events", f"send at most {MAX_EVENTS:,} at once"),
    Kind(415, "unsupported_media_type", "send JSON as `application/json`, not compressed"),
    Kind(422, "invalid_request", "`errors` says where and what"),
    Kind(500, "internal_error", "report it: the service's log says what failed"),
    Kind(503, "corrupt_value", "try again after `Retry-After`; `detail` says what is damaged"),
    Kind(503, "unavailable", "try again after `Retry-After`; `detail` says what is missing"),
)
"""Every problem that the service answers with."""
BY_NAME = {kind.name: kind for kind in PROBLEMS}

_OF_ERRORS: dict[type[Exception], str] = {
    InvalidCursor: "invalid_cursor",
    CursorExpired: "cursor_expired",
    HashCollision: "hash_collision",
    BodyTooLarge: "body_too_large",
    Unavailable: "unavailable",
    CorruptValue: "corrupt_value",
    redis.RedisError: "unavailable",
}
NOT_FOUND = "Not Found"
"""What the framework says of a path that no route takes."""
_OF_STATUS = {404: "not_found", 405: "method_not_allowed", 413: "too_many_events", 415: "unsupported_media_type"}


def problem(name: str, detail: str, metrics: Metrics, **more: object) -> Response:
    """An `application/problem+json` answer of a kind of PROBLEMS, counted."""
    kind = BY_NAME[name]
    metrics.problems.labels(name).inc()
    body = {"type": f"urn:rex:{name}", "title": name.replace("_", " "), "status": kind.status, "detail": detail}
    headers = NO_STORE | ({"Retry-After": str(RETRY_AFTER_S)} if kind.status == 503 else {})
    return Response(orjson.dumps(body | more), kind.status, headers, MEDIA_TYPE)


def install(app: FastAPI, metrics: Metrics) -> None:
    """Every error of the app becomes a problem. On the event loop: never behind threads that wait for Redis."""

    def known(name: str) -> Callable[[Request, Exception], Awaitable[Response]]:
        async def handle(request: Request, error: Exception) -> Response:
            if BY_NAME[name].status == 503:
                log.error("%s %s: %s", request.method, request.url.path, error)
            return problem(name, first_line(error) if isinstance(error, redis.RedisError) else str(error), metrics)

        return handle

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        errors = [{"where": _where(e["loc"]), "what": _what(e)} for e in error.errors()]
        detail = "; ".join(f"{e['where']}: {e['what']}" for e in errors)
        return problem("invalid_request", detail, metrics, errors=jsonable_encoder(errors))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException | StarletteHTTPException)
        unforeseen = "invalid_request" if error.status_code < 500 else "internal_error"
        name = _OF_STATUS.get(error.status_code, unforeseen)
        detail, path = str(error.detail), request.url.path
        allowed = ", ".join(_allowed(app, request))
        if detail == NOT_FOUND:
            detail = f"there is nothing at {path}" + (", which ends in a slash" if path.endswith("/") else "")
        if error.status_code == 405:
            detail = f"{path} takes {allowed}"
        answer = problem(name, detail, metrics)
        if error.status_code == 405:
            answer.headers["Allow"] = allowed
        return answer

    async def unexpected(request: Request, error: Exception) -> Response:
        log.exception("%s %s failed", request.method, request.url.path, exc_info=error)
        return problem("internal_error", "the request failed here; the log says why", metrics)

    for kind, name in _OF_ERRORS.items():
        app.add_exception_handler(kind, known(name))
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(StarletteHTTPException, http)
    app.add_exception_handler(Exception, unexpected)


def _where(location: Sequence[str | int]) -> str:
    """`body.title`, without the places that only the framework knows: a member of a union, an offset in a text."""
    named = [str(part) for part in location if not (isinstance(part, str) and ("[" in part or part == "none"))]
    is_offset = len(named) == 2 and isinstance(location[-1], int)
    return named[0] if is_offset else ".".join(named)


def _what(error: Mapping[str, Any]) -> str:
    """The framework's words, without its prefix and with the reason that it keeps apart."""
    reason = error.get("ctx", {}).get("error") if error["type"] == "json_invalid" else None
    if reason is not None:
        return f"this is not JSON: {reason} at character {error['loc'][-1]}"
    words: str = error["msg"]
    return words.removeprefix("Value error, ")


def _allowed(app: FastAPI, request: Request) -> list[str]:
    """The methods of all routes with this path: the framework names those of the first one only."""
    here = [route for route in app.routes if route.matches(request.scope)[0] is not Match.NONE]
    methods: set[str] = set().union(*(getattr(route, "methods", None) or () for route in here))
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


def describe(app: FastAPI) -> None:
    """Has the app's schema say of problems that they are `application/problem+json`; the framework says JSON of them all."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            for path in made()["paths"].values():
                for call in path.values():
                    for status, answer in call["responses"].items():
                        if int(status) >= 400:
                            of_type = answer["content"]
                            form: dict[str, Any] = next((of_type[name] for name in of_type if name != MEDIA_TYPE), {})
                            answer["content"] = {MEDIA_TYPE: form | of_type.get(MEDIA_TYPE, {})}
        return made()

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's own documentation has it


def example(kind: Kind) -> dict[str, Any]:
    """A problem of this kind, as it is answered."""
    body = {"type": f"urn:rex:{kind.name}", "title": kind.name.replace("_", " "), "status": kind.status}
    errors = {"errors": [api_examples.FIELD_ERROR]} if kind.status == 422 else {}
    return {**body, "detail": api_examples.DETAILS[kind.name], **errors}


def documented(*names: str) -> dict[int | str, dict[str, Any]]:
    """`responses` of a call that may be refused for these reasons; and every call for being invalid or not possible now."""
    found: dict[int | str, dict[str, Any]] = {}
    for kind in PROBLEMS:
        if kind.name in (*names, "invalid_request", "unavailable", "corrupt_value"):
            about = found.setdefault(kind.status, {"model": Problem, "description": "", "content": {MEDIA_TYPE: {}}})
            about["content"][MEDIA_TYPE].setdefault("examples", {})[kind.name] = {"value": example(kind)}
            about["description"] += f"{' ' * bool(about['description'])}`{kind.name}`: {kind.remedy}."
    return found
