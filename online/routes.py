"""The HTTP API, version 1. docs/api.md lists calls, problems and metrics; /docs shows the schemas."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import orjson
import redis
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BeforeValidator

from features.errors import Unavailable
from features.snapshot_reader import snapshots
from online.api_models import EventsBatch, EventsReceipt, Explanation, Feed, Problem, StoryReceipt
from online.clock import micros
from online.events import MAX_EVENTS
from online.ids import Id
from online.page_of import page_of
from online.paths import restored
from online.preparing import FeedRequest
from online.presenting import document
from online.stories import HashCollision, InTheFuture, Story
from online.whois import about_person
from online.wiring import AppState

router = APIRouter()
UserId = Annotated[Id, BeforeValidator(restored), Path(description="opaque id of the person")]
StoryId = Annotated[Id, BeforeValidator(restored), Path(description="opaque id of the story")]
Surface = Annotated[str, Query(pattern=r"^[a-z][a-z0-9_]{0,31}$", description="where the feed is shown")]
Limit = Annotated[int, Query(ge=1, le=100, description="items on the page")]


def _problems(*also: int) -> dict[int | str, dict[str, Any]]:
    """For the documentation: these; and every call may be refused as invalid (422) or as not possible now (503)."""
    return {status: {"model": Problem} for status in sorted({*also, 422, 503})}


def _rex(request: Request) -> AppState:
    state: AppState = request.app.state.rex
    return state


def _json(body: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")


@router.get("/v1/users/{user_id}/feed", responses={200: {"model": Feed}, **_problems(400, 410)}, tags=["feed"])
async def feed(
    request: Request,
    user_id: UserId,
    limit: Limit = 20,
    cursor: str | None = None,
    surface: Surface = "home",
    fresh: bool = False,
) -> Response:
    """One page of the ranked feed. Unknown people get a newcomer's feed."""
    wanted = FeedRequest(user_id, limit, cursor, surface, fresh)
    return Response(await page_of(_rex(request), wanted, _ranking_places(request)), media_type="application/json")


def _ranking_places(request: Request) -> CapacityLimiter:
    state = request.app.state
    if not hasattr(state, "ranking_places"):  # made here, because it belongs to the running event loop
        state.ranking_places = CapacityLimiter(_rex(request).online.rankings_at_once)
    places: CapacityLimiter = state.ranking_places
    return places


@router.get("/v1/users/{user_id}/feed/explain", responses={200: {"model": Explanation}, **_problems()}, tags=["feed"])
async def explain(request: Request, user_id: UserId, story_id: Id | None = None, surface: Surface = "home") -> Response:
    """The funnel of a fresh ranking and, with `story_id`, the path of that story through it."""
    rex = _rex(request)
    places = _ranking_places(request)
    return _json(
        await to_thread.run_sync(rex.feeds.explain, user_id, micros(rex.clock()), story_id, surface, limiter=places)
    )


@router.post(
    "/v1/events", status_code=202, responses={202: {"model": EventsReceipt}, **_problems(413)}, tags=["events"]
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
    status_code=202,
    responses={202: {"model": StoryReceipt}, **_problems(409, 413)},
    tags=["stories"],
)
def put_story(request: Request, story_id: StoryId, story: Story) -> Response:
    """Publishes or changes a story. Rules judge it as it is now at once; the next fresh ranking can show it, from its date on."""
    rex = _rex(request)
    row = _row(rex, story_id)
    if row >= 0 and (known := rex.live.get().story_id(row)) != story_id:
        raise HashCollision(f"the id {story_id!r} has the same 64-bit hash as {known!r}; choose another id")
    try:
        position, applied = rex.stories.put(story_id, story, rex.clock())
    except InTheFuture as error:
        raise HTTPException(422, str(error)) from error
    return _json({"story_id": story_id, "position": position, "applied": applied}, 202)


@router.delete(
    "/v1/stories/{story_id}",
    status_code=202,
    responses={202: {"model": StoryReceipt}, **_problems(404)},
    tags=["stories"],
)
def withdraw_story(request: Request, story_id: StoryId) -> Response:
    """Withdraws a story: no feed read after this answer shows it."""
    rex = _rex(request)
    world = rex.live.get()  # without one, a story that nobody knows could not be told from one in the snapshot
    row = _row(rex, story_id)
    try:
        position = rex.stories.withdraw(story_id, rex.clock(), document(world, row) if row >= 0 else None)
    except KeyError:
        raise HTTPException(404, f"no story {story_id!r} is known") from None
    return _json({"story_id": story_id, "position": position, "applied": True}, 202)


def _row(rex: AppState, story_id: str) -> int:
    """Row of the story in the loaded snapshot; -1: not in it, or none is loaded."""
    try:
        return rex.live.get().row(story_id)
    except Unavailable:
        return -1


@router.get("/v1/users/{user_id}", responses=_problems(), tags=["people"])
def person(request: Request, user_id: UserId) -> Response:
    """What the service knows of a person now."""
    rex = _rex(request)
    ctx, _ = rex.feeds.context(user_id, micros(rex.clock()))
    return _json(about_person(ctx))


@router.get("/v1/snapshots", responses=_problems(), tags=["operation"])
def list_snapshots(request: Request) -> Response:
    """Snapshots in Redis, newest first."""
    rex = _rex(request)
    return _json({"snapshots": [asdict(about) for about in snapshots(rex.client, rex.keys, rex.clock())]})


@router.get("/healthz", tags=["operation"])
async def healthz() -> Response:
    """The process runs. Touches nothing."""
    return _json({"status": "ok"})


@router.get("/readyz", responses=_problems(), tags=["operation"])
def readyz(request: Request) -> Response:
    """A snapshot is loaded and Redis answers."""
    rex = _rex(request)
    world = rex.live.get()
    try:
        rex.client.ping()
    except redis.RedisError as error:
        raise Unavailable(f"Redis does not answer: {error}") from error
    about = {"snapshot": world.version, "stories": world.snapshot_rows, "story_position": world.position}
    return _json({"status": "ready", **about})


@router.get("/metrics", tags=["operation"])
def metrics(request: Request) -> Response:
    """For Prometheus."""
    return Response(generate_latest(_rex(request).metrics.registry), media_type=CONTENT_TYPE_LATEST)
