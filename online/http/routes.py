"""The HTTP API, version 1. docs/api.md lists calls, problems and metrics; /docs shows the schemas."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BeforeValidator
from pydantic.json_schema import SkipJsonSchema

from features.languages import accepted_languages
from features.raw_datasets import CLOCK_SKEW_S
from features.snapshot_reader import snapshots
from features.times import micros, rfc3339
from online.feed.describe_user import about_user, account_times
from online.feed.preparing import FeedRequest
from online.feed.presenting import known_document
from online.feed.workers import Workers
from online.http.middleware import is_head, restored
from online.http.problems import documented
from online.http.schemas import (
    EventsBatch,
    EventsReceipt,
    Explanation,
    Feed,
    Health,
    KnownUser,
    Readiness,
    Snapshots,
    StoryReceipt,
    UserReceipt,
)
from online.http.strict_route import BeaconRoute, StrictRoute, invalid
from online.ingest.events import MAX_EVENTS
from online.ingest.ids import Id
from online.ingest.stories import Story, refuse_collisions
from online.ingest.users import Account
from online.wiring import AppState

router = APIRouter(route_class=StrictRoute)
beacons = APIRouter(route_class=BeaconRoute)
ROUTERS = (router, beacons)
UserId = Annotated[Id, BeforeValidator(restored), Path(description="opaque id of the user")]
StoryId = Annotated[Id, BeforeValidator(restored), Path(description="opaque id of the story")]
Surface = Annotated[str, Query(pattern=r"^[a-z][a-z0-9_]{0,31}$", description="where the feed is shown")]
OF_BODIES = ("body_too_large", "unsupported_media_type")
"""Problems of every call with a body."""
ACCEPTS_LANGUAGE: dict[str, Any] = {
    "parameters": [
        {
            "name": "Accept-Language",
            "in": "header",
            "required": False,
            "schema": {"type": "string"},
            "description": "languages of the client, a hint for users whose languages are not known",
        }
    ]
}
"""For the schema. The header is read by hand: as a parameter it would take a thirtieth of a cached page's time."""
Limit = Annotated[int, Query(ge=1, le=100, description="items on the page")]


def _hint(request: Request) -> tuple[int, ...]:
    return accepted_languages(request.headers.get("accept-language"))


def _rex(request: Request) -> AppState:
    state: AppState = request.app.state.rex
    return state


def _workers(request: Request) -> Workers:
    workers: Workers = request.app.state.workers
    return workers


def _json(body: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")


@router.get(
    "/v1/users/{user_id}/feed",
    operation_id="get_feed",
    openapi_extra=ACCEPTS_LANGUAGE,
    responses={200: {"model": Feed}, **documented("invalid_cursor", "cursor_expired")},
    tags=["feed"],
)
async def feed(
    request: Request,
    user_id: UserId,
    limit: Limit = 20,
    cursor: str | SkipJsonSchema[None] = None,
    surface: Surface = "home",
    fresh: bool = False,
) -> Response:
    """One page of the ranked feed. Unknown users get a newcomer's feed."""
    rex = _rex(request)
    wanted = FeedRequest(user_id, limit, cursor, surface, fresh, _hint(request))
    if is_head(request):  # whether there would be a page; one that nobody sees must not count as served
        await rex.feeds.prepare(wanted, micros(rex.clock()), _workers(request))
        answer = _json({})
        del answer.headers["Content-Length"]  # that of the page is not known
        return answer
    return _json(await rex.feeds.page(wanted, lambda: micros(rex.clock()), _workers(request)))


@router.get(
    "/v1/users/{user_id}/feed/explain",
    operation_id="explain_feed",
    openapi_extra=ACCEPTS_LANGUAGE,
    responses={200: {"model": Explanation}, **documented()},
    tags=["feed"],
)
async def explain(
    request: Request,
    user_id: UserId,
    story_id: Id | SkipJsonSchema[None] = None,
    surface: Surface = "home",
) -> Response:
    """The funnel of a fresh ranking and, with `story_id`, the path of that story through it."""
    rex = _rex(request)
    asked = (user_id, micros(rex.clock()), story_id, surface, _hint(request))
    return _json(await _workers(request).rank(rex.feeds.explain, *asked))


@beacons.post(
    "/v1/events",
    operation_id="send_events",
    status_code=202,
    responses={202: {"model": EventsReceipt}, **documented(*OF_BODIES, "too_many_events")},
    tags=["events"],
)
def events(request: Request, batch: EventsBatch) -> Response:
    """Accepts events one by one; what is accepted acts on the next request and reaches the lake."""
    rex = _rex(request)
    if len(batch.events) > MAX_EVENTS:
        raise HTTPException(413, f"{len(batch.events)} events in one request; send at most {MAX_EVENTS}")
    receipt = rex.events.accept(batch.events, rex.clock())
    for outcome, count in (
        ("accepted", receipt.accepted),
        ("duplicate", receipt.duplicates),
        ("rejected", len(receipt.rejected)),
    ):
        rex.metrics.events.labels(outcome).inc(count)
    for rejected in receipt.rejected:
        rex.metrics.rejected.labels(rejected.code).inc()
    return _json(asdict(receipt), 202)


@router.put(
    "/v1/stories/{story_id}",
    operation_id="put_story",
    status_code=202,
    responses={202: {"model": StoryReceipt}, **documented(*OF_BODIES, "hash_collision")},
    tags=["stories"],
)
def put_story(request: Request, story_id: StoryId, story: Story) -> Response:
    """Publishes or changes a story. Rules judge it as it is now at once; the next fresh ranking can show it, from its date on."""
    rex = _rex(request)
    now = rex.clock()
    _refuse_the_future("updated_at", story.updated_at, now)
    in_snapshot = None
    if rex.live.is_loaded:
        story_table = rex.live.loaded().catch_up()
        refuse_collisions(story_table, story_id, story)
        in_snapshot = known_document(story_table, story_id)
    position, applied = rex.stories.put(story_id, story, now, in_snapshot)
    return _json({"story_id": story_id, "position": position, "applied": applied}, 202)


@router.delete(
    "/v1/stories/{story_id}",
    operation_id="withdraw_story",
    status_code=202,
    responses={202: {"model": StoryReceipt}, **documented("not_found")},
    tags=["stories"],
)
def withdraw_story(request: Request, story_id: StoryId) -> Response:
    """Withdraws a story: no feed read after this answer shows it."""
    rex = _rex(request)
    story_table = rex.live.get()  # without one, a story that nobody knows could not be told from one in the snapshot
    try:
        position = rex.stories.withdraw(story_id, rex.clock(), known_document(story_table, story_id))
    except KeyError:
        raise HTTPException(404, f"no story {story_id!r} is known") from None
    return _json({"story_id": story_id, "position": position, "applied": True}, 202)


@router.put(
    "/v1/users/{user_id}",
    operation_id="put_user",
    status_code=202,
    responses={202: {"model": UserReceipt}, **documented(*OF_BODIES)},
    tags=["users"],
)
def put_user(request: Request, user_id: UserId, account: Account) -> Response:
    """Changes a user's languages and membership: no feed read after this answer goes by the old ones."""
    rex = _rex(request)
    now = rex.clock()
    _refuse_the_future("created_at", account.created_at, now)
    _refuse_the_future("updated_at", account.updated_at, now)
    in_snapshot = account_times(rex.feeds.context(user_id, micros(now))) if rex.live.is_loaded else {}
    position, applied = rex.accounts.put(user_id, account, now, in_snapshot)
    return _json({"user_id": user_id, "position": position, "applied": applied}, 202)


def _refuse_the_future(name: str, at: datetime | None, now: datetime) -> None:
    """Refuses a time in the body that lies ahead of `now` by more than clocks may differ."""
    if at is not None and at > now + timedelta(seconds=CLOCK_SKEW_S):
        raise invalid(
            f"body.{name}",
            f"this is more than {CLOCK_SKEW_S} s ahead of the service's clock, which says {rfc3339(now)}",
        )


@router.get(
    "/v1/users/{user_id}",
    operation_id="get_user",
    responses={200: {"model": KnownUser}, **documented()},
    tags=["users"],
)
def user(request: Request, user_id: UserId) -> Response:
    """What the service knows of a user now."""
    rex = _rex(request)
    return _json(about_user(rex.feeds.context(user_id, micros(rex.clock()))))


@router.get(
    "/v1/snapshots",
    operation_id="list_snapshots",
    responses={200: {"model": Snapshots}, **documented()},
    tags=["operation"],
)
def list_snapshots(request: Request) -> Response:
    """Snapshots in Redis, newest first."""
    rex = _rex(request)
    return _json({"snapshots": [asdict(about) for about in snapshots(rex.client, rex.keys, rex.clock())]})


@router.get(
    "/healthz", operation_id="get_health", responses={200: {"model": Health}, **documented()}, tags=["operation"]
)
async def healthz() -> Response:
    """The process runs. Touches nothing."""
    return _json({"status": "ok"})


@router.get(
    "/readyz", operation_id="get_readiness", responses={200: {"model": Readiness}, **documented()}, tags=["operation"]
)
async def readyz(request: Request) -> Response:
    """A snapshot is loaded, and Redis answers within a second and has it. `warnings`: what may be lost, and why."""
    rex = _rex(request)
    story_table = rex.live.get()
    about = {
        "snapshot": story_table.version,
        "stories": story_table.snapshot_rows,
        "story_position": story_table.position,
    }
    about["warnings"] = await rex.health.warnings()
    return _json({"status": "ready", **about})


@router.get(
    "/metrics", operation_id="get_metrics", response_class=PlainTextResponse, responses=documented(), tags=["operation"]
)
async def metrics(request: Request) -> Response:
    """For Prometheus. On the event loop: never behind requests whose threads wait for Redis."""
    return Response(generate_latest(_rex(request).metrics.registry), media_type=CONTENT_TYPE_LATEST)
