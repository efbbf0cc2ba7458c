"""Asks a running feed service over HTTP, for the command line."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx

from features.errors import BadInput, Unavailable
from rex.local.http import http_client

TIMEOUT_S = 30.0
"""A user waits at the other end; a healthy service answers in milliseconds."""


def fetch_feed(
    url: str, user_id: str, limit: int, story_id: str | None, *, top: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    """One page and the funnel, as the API answers them; `top`: explain the page's first story unless one is named.

    Unavailable when no service answers, BadInput for a problem.
    """
    path = f"/v1/users/{quote(user_id, safe='')}/feed"
    with http_client(url, timeout=TIMEOUT_S) as client:
        page = _get(client, path, {"limit": limit})
        story_id = explained_story(page, story_id, top=top)
        return page, _get(client, f"{path}/explain", {} if story_id is None else {"story_id": story_id})


def explained_story(page: dict[str, Any], story_id: str | None, *, top: bool) -> str | None:
    """The story to be explained beside the funnel; None: none."""
    first: list[str] = [item["story_id"] for item in page["items"][:1]] if top else []
    return next(iter(first), None) if story_id is None else story_id


def _get(client: httpx.Client, path: str, query: dict[str, Any]) -> dict[str, Any]:
    try:
        answer = client.get(path, params=query)
    except httpx.TransportError as error:
        raise Unavailable(
            f"no feed service answers at {client.base_url} ({error}); start one with `rex serve`."
        ) from error
    body: dict[str, Any] = answer.json()
    if answer.status_code != httpx.codes.OK:
        raise BadInput(f"{client.base_url} answered {answer.status_code}: {body.get('detail', body)}")
    return body
