"""Pages of other origins: which may read answers, and send events without asking first."""

from __future__ import annotations

from typing import cast

from fastapi import Request, Response
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from online.http.problems import problem
from online.metrics import Metrics

EVERY = "*"
"""In the setting: any origin."""
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
READABLE_HEADERS = ("Allow", "Retry-After")
"""Beside those that a page may always read."""


class Origins(CORSMiddleware):
    """Around the whole app, so that problems can be read as well; a page that may not ask gets a problem as well."""

    def __init__(self, app: ASGIApp, allowed: tuple[str, ...], metrics: Metrics) -> None:
        super().__init__(app, allowed, METHODS, expose_headers=READABLE_HEADERS)
        self._metrics = metrics

    def preflight_response(self, request_headers: Headers) -> Response:
        """What the browser asks before it sends anything but a simple request."""
        answer = super().preflight_response(request_headers)
        if answer.status_code == 200:
            return answer
        origin = request_headers.get("origin")
        if not self.is_allowed_origin(origin or ""):
            why = f"pages of {origin} are not allowed; REX_ONLINE_HTTP_CORS_ORIGINS names those that are"
        else:
            why = (
                f"{cast('bytes', answer.body).decode()}: pages of other origins may use {', '.join(METHODS)}, and of the headers"
                " that a browser asks about, Content-Type"
            )
        refusal = problem("origin_not_allowed", why, self._metrics)
        refusal.headers["Vary"] = answer.headers["Vary"]
        return refusal


def from_allowed_origin(request: Request) -> bool:
    """Whether a page of this service or of an origin in the setting sent it. By host, for a proxy may speak TLS for us."""
    origin, allowed = request.headers.get("origin", ""), request.app.state.rex.online.http.cors_origins
    own = request.headers.get("host")
    return origin in allowed or (EVERY in allowed and bool(origin)) or (bool(own) and origin.partition("://")[2] == own)
