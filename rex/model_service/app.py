"""The model service: hosts models as a process of its own. Arrow IPC streams in and out.

Served are the models of all kept snapshots, named by the snapshot's version, and those of a folder.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager

import orjson
import redis
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from features.errors import BadInput, Unavailable
from features.keys import Keys
from features.packing import CorruptValue
from features.settings import Settings
from features.snapshot_reader import published, stored_manifest
from online.rankers.models.outcomes import shares, value
from rex.local.redis import connect
from rex.model_service.registry import Folder, Hosted, RedisBlobs, Registry, Several, Source
from rex.model_service.wire import MEDIA_TYPE, MODEL_HEADER, VALUE, pack, unpack_features

log = logging.getLogger("rex.models")
POLL_S = 1.0
"""How often the source is asked what is published: as often as a feed looks for a new snapshot."""
MAX_BODY_BYTES = 64 << 20
"""Half a million stories with thirty features; more is a mistake, and would fill the memory."""
SCORINGS_AT_ONCE = 2
"""Side by side; each takes a core, so that more would only make all of them late."""
KEEP_ALIVE_S = 75
"""uvicorn's `timeout_keep_alive`; longer than clients keep idle connections, so that none is closed in use."""
_BUCKETS_MS = (0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 1000)


class ModelMetrics:
    """One set per app."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.rows = Counter("rex_model_rows", "Rows scored", ["model"], registry=self.registry)
        self.score_ms = Histogram(
            "rex_model_score_ms", "Milliseconds per request", ["model"], buckets=_BUCKETS_MS, registry=self.registry
        )
        self.problems = Counter(
            "rex_model_problems", "Requests answered with a problem", ["type"], registry=self.registry
        )
        self.loaded = Counter("rex_model_loads", "Models loaded", registry=self.registry)
        self.hosted = Gauge("rex_models", "Models served", registry=self.registry)
        self.failing = Gauge("rex_models_failing", "Published models that cannot be served", registry=self.registry)


router = APIRouter()


def create_model_app(source: Source, poll_s: float = POLL_S, closed: Callable[[], None] = lambda: None) -> FastAPI:
    """The app. Models are loaded when it starts and whenever the source publishes others; `closed` is called when it ends."""
    registry, metrics = Registry(source), ModelMetrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        stop = threading.Event()
        _refresh(registry, metrics)
        thread = threading.Thread(target=_follow, args=(registry, metrics, stop, poll_s), daemon=True)
        thread.start()
        app.state.places = CapacityLimiter(SCORINGS_AT_ONCE)
        yield
        stop.set()
        thread.join()
        closed()

    app = FastAPI(
        title="Rex models", version="1", lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.state.registry, app.state.metrics = registry, metrics
    app.include_router(router)
    app.add_exception_handler(HTTPException, _problem)
    return app


def _follow(registry: Registry, metrics: ModelMetrics, stop: threading.Event, poll_s: float) -> None:
    while not stop.wait(poll_s):
        _refresh(registry, metrics)


def _refresh(registry: Registry, metrics: ModelMetrics) -> None:
    try:
        metrics.loaded.inc(registry.refresh())
    except Unavailable as error:
        log.warning("the models at hand are served on: %s", error)
    except Exception:
        log.exception("looking for models failed; the models at hand are served on")
    metrics.hosted.set(len(registry.all()))
    metrics.failing.set(len(registry.failing))


def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = {404: "not_found", 413: "too_large", 422: "invalid_request"}.get(error.status_code, "unavailable")
    request.app.state.metrics.problems.labels(kind).inc()
    body = {
        "type": f"urn:rex:{kind}",
        "title": kind.replace("_", " "),
        "status": error.status_code,
        "detail": error.detail,
    }
    return Response(orjson.dumps(body), error.status_code, media_type="application/problem+json")


@router.post("/v1/models/{name}/score")
async def score(request: Request, name: str) -> Response:
    """float32 feature columns → `value` (float32) and one float64 probability an outcome, as columns."""
    hosted: Hosted | None = request.app.state.registry.get(name)
    if hosted is None:
        raise HTTPException(404, f"no model {name!r} is served here; GET /v1/models lists them")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413, f"more than {MAX_BODY_BYTES} bytes; send fewer rows")
    try:
        work = (request.app.state.metrics, hosted, bytes(body))
        answer = await to_thread.run_sync(_scored, *work, limiter=request.app.state.places)
    except BadInput as error:
        raise HTTPException(422, str(error)) from error
    return Response(answer, headers={MODEL_HEADER: hosted.sha256}, media_type=MEDIA_TYPE)


def _scored(metrics: ModelMetrics, hosted: Hosted, body: bytes) -> bytes:
    started = time.perf_counter()
    model = hosted.model
    columns = unpack_features(body, model.features)
    n = len(next(iter(columns.values())))
    probabilities = model.probabilities(model.matrix(columns, n))
    answer = pack({VALUE: value(shares(probabilities, model.weights), n), **probabilities})
    metrics.rows.labels(hosted.name).inc(n)
    metrics.score_ms.labels(hosted.name).observe((time.perf_counter() - started) * 1000)
    return answer


@router.get("/v1/models")
async def models(request: Request) -> Response:
    """What is served, and what is published but cannot be."""
    registry: Registry = request.app.state.registry
    served = [
        {"name": one.name, "sha256": one.sha256, "features": one.model.features, "weights": one.model.weights}
        for one in registry.all().values()
    ]
    return Response(orjson.dumps({"models": served, "failing": registry.failing}), media_type="application/json")


@router.get("/healthz")
async def healthz() -> Response:
    """The process runs. Touches nothing."""
    return Response(b'{"status":"ok"}', media_type="application/json")


@router.get("/readyz")
async def readyz(request: Request) -> Response:
    """At least one model is loaded."""
    count = len(request.app.state.registry.all())
    if not count:
        raise HTTPException(503, "no model is loaded yet")
    return Response(orjson.dumps({"status": "ready", "models": count}), media_type="application/json")


@router.get("/metrics")
def metrics(request: Request) -> Response:
    """For Prometheus."""
    return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)


def create_app(settings: Settings | None = None, poll_s: float = POLL_S) -> FastAPI:
    """The app; settings come from the environment unless given. Models come and go with their snapshots, without a restart."""
    settings, stack = settings or Settings(), ExitStack()
    client, keys = stack.enter_context(connect(settings)), Keys(settings.redis_prefix)
    kept = RedisBlobs(client, keys, lambda: models_kept(client, keys))
    source = kept if settings.models is None else Several(kept, Folder(settings.models))
    return create_model_app(source, poll_s, stack.close)


def models_kept(client: redis.Redis, keys: Keys) -> Mapping[str, str]:
    """Version of each kept snapshot that has a model → the model's digest. Unavailable when a manifest is damaged."""
    try:
        found = [(version, stored_manifest(client, keys, version)) for version in published(client, keys)]
    except CorruptValue as error:
        raise Unavailable(f"the kept snapshots cannot be listed: {error}") from error
    return {version: manifest.model for version, manifest in found if manifest is not None and manifest.model}
