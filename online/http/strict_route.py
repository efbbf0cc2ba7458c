"""How every call takes its request: no parameter that it does not know, no body that is not plain JSON."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from email.message import Message
from typing import Annotated, Any
from urllib.parse import unquote_to_bytes

from fastapi import HTTPException, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_flat_params
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import ValidationError, create_model
from starlette.exceptions import HTTPException as StarletteHTTPException

from online.http.cross_origin import from_allowed_origin
from online.http.problems import NO_STORE

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
_NO_STORE = [(name.lower().encode(), value.encode()) for name, value in NO_STORE.items()]


class StrictRoute(APIRoute):
    """Refuses what would otherwise be ignored: a misnamed cursor would page the first page for ever."""

    beacons = False
    """Whether `text/plain` is read as JSON when it comes from a page that may send it."""

    def get_route_handler(self) -> Handler:
        """FastAPI's, between a look at the request and a header on the answer."""
        handle = (
            _directly(self.dependant, super().get_route_handler())
            if self.body_field is None
            else super().get_route_handler()
        )
        known = {parameter.alias for parameter in self.dependant.query_params}

        async def strictly(request: Request) -> Response:
            _refuse_unknown(request, known)
            if self.body_field is not None:
                request = _as_json(request, self.beacons)
            try:
                answer = await handle(request)
            except StarletteHTTPException as error:
                if error.status_code != 400:
                    raise
                raise invalid("body", f"this is not JSON: {error.__cause__}") from error  # bad UTF-8, endless digits
            answer.raw_headers.extend(_NO_STORE)
            return answer

        return strictly


def _directly(call: Dependant, handle: Handler) -> Handler:
    """For a call on the event loop that takes path and query alone: all its parameters are checked at once, which takes a tenth of
    `handle`'s time. What is wrong with one is left for `handle` to say."""
    fields = [*call.path_params, *call.query_params]
    if not call.is_coroutine_callable or len(fields) < len(get_flat_params(call)):
        return handle
    kinds = [(field.name, field.field_info, field.field_info.annotation) for field in fields]
    checked: Any = {
        name: (Annotated[kind, about], ... if about.is_required() else about.default) for name, about, kind in kinds
    }
    parameters = create_model("Parameters", **checked)
    endpoint: Any = call.call
    takes_request = call.request_param_name

    async def directly(request: Request) -> Response:
        try:
            given = parameters.model_validate({**request.query_params, **request.path_params}).__dict__
        except ValidationError:
            return await handle(request)
        if takes_request:
            given[takes_request] = request
        answer: Response = await endpoint(**given)
        return answer

    return directly


class BeaconRoute(StrictRoute):
    """Takes what `navigator.sendBeacon(url, text)` sends, too."""

    beacons = True


def invalid(where: str, what: str) -> RequestValidationError:
    """What a handler raises for input that its schema cannot refuse; `where` as in `body.created_at`."""
    return RequestValidationError([{"type": "value_error", "loc": tuple(where.split(".", 1)), "msg": what}])


def _refuse_unknown(request: Request, known: set[str]) -> None:
    query = request.scope["query_string"]
    if b"%" in query or not query.isascii():
        try:
            unquote_to_bytes(query).decode()
        except UnicodeDecodeError as error:
            raise invalid("query", f"this is not UTF-8: {error}") from error
    if not query:
        return
    names = [name for name, _ in request.query_params.multi_items()]
    if known.issuperset(names) and len(names) == len(set(names)):
        return
    for name in names:
        if name not in known:
            takes = f"those are {', '.join(sorted(known))}" if known else "this call takes none"
            raise invalid(f"query.{name}", f"there is no such parameter; {takes}")
        if names.count(name) > 1:
            raise invalid(f"query.{name}", "given more than once")


def _as_json(request: Request, beacons: bool) -> Request:
    """The request, once it is sure that its body says to be JSON."""
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise HTTPException(415, f"Content-Encoding {encoding!r}: send the body as it is, not compressed")
    declared = request.headers.get("content-type")
    media = _media_type(declared)
    if media == "application/json":
        return request
    if media != "text/plain" or not beacons:
        raise HTTPException(415, f"Content-Type {declared!r}: send JSON as application/json")
    if not from_allowed_origin(request):
        origin = request.headers.get("origin")
        raise HTTPException(
            415,
            f"Content-Type {declared!r} from origin {origin!r}: only pages of this service, and of the origins in"
            " REX_ONLINE_HTTP_CORS_ORIGINS, may send JSON so; send it as application/json",
        )
    headers = [(name, value) for name, value in request.scope["headers"] if name != b"content-type"]
    as_json = {**request.scope, "headers": [*headers, (b"content-type", b"application/json")]}
    return Request(as_json, request.receive)


def _media_type(header: str | None) -> str:
    if header is None:
        return ""
    message = Message()
    message["content-type"] = header
    return message.get_content_type() if "/" in header else header
