"""What was answered: noted by the request without I/O, written in bulk by a thread of its own.

To the log (one stream entry a page, which the archiver moves to the dataset `served`) and to each user's history. It is
no acknowledged data: a killed process loses what it has answered since the last flush, `served_flush_s` ago.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import orjson
import redis
from prometheus_client import Counter

from features.arrays import F32, Bools, Hashes
from features.errors import Unavailable
from features.keys import Keys
from online.service_settings import OnlineSettings
from online.user.served_history import encode_page

log = logging.getLogger("rex.online")

QUEUE_PAGES = 10_000
"""Pages that wait for a flush; ten seconds of a thousand pages a second while Redis is away, some 30 MB."""
STREAM_PAGES = 20_000
"""Pages kept in a partition's stream when nobody archives: with 16 partitions some 450 MB. The oldest go first."""
PROMOTED = "promoted"
"""Source of an entry that a promotion placed; providers do not name it."""
_NUMPY = orjson.OPT_SERIALIZE_NUMPY
_DAMAGED = "WRONGTYPE"
"""What lies under the key is of another kind. No waiting helps, and one user's damage must not hold up everyone's pages."""


@dataclass(frozen=True, slots=True)
class ServedPage:
    """One answered page of k items, top first."""

    request_id: str
    user_id: str
    slate: str
    """Id of the slate it was cut from."""
    snapshot: str
    model: str
    served_us: int
    """When it was answered, microseconds since 1970, UTC."""
    first_position: int
    """Position of the first item in the pagination session; the others follow."""
    story_ids: Sequence[str]
    stories: Hashes
    """int64[k]: their hashes."""
    sources: Sequence[str]
    """Of each item, the provider named in its reason."""
    promoted: Bools
    """bool[k]: placed by a promotion."""
    scores: F32
    """float32[k]."""
    propensities: np.ndarray
    """float64[k]: P(this story at this position | request, entries above); 1 where the policy is deterministic."""
    features: F32 | None
    """float32[k, registered features], NaN where not computed; None: the slate is not sampled."""


class ServedLog:
    """A bounded queue between requests and Redis. All methods may be called from several threads."""

    def __init__(self, client: redis.Redis, keys: Keys, settings: OnlineSettings, lost: Counter) -> None:
        self._client = client
        self._keys = keys
        self._settings = settings
        self._lost = lost
        self._waiting: deque[ServedPage] = deque()
        self._lock = Lock()

    def note(self, page: ServedPage) -> None:
        """Queues a page; never waits for I/O. When QUEUE_PAGES wait already, the oldest is dropped and counted."""
        with self._lock:
            self._waiting.append(page)
            self._drop_excess()

    def flush(self) -> int:
        """Writes what waits, in one round trip; returns the number of pages.

        A page that finds a damaged key is counted as lost. Unavailable when Redis cannot be written: the pages wait on. What
        Redis had taken of them is then written again, as an exact repeat.
        """
        with self._lock:
            pages = list(self._waiting)
            self._waiting.clear()
        if not pages:
            return 0
        try:
            self._write(pages)
        except redis.RedisError as error:
            with self._lock:
                self._waiting.extendleft(reversed(pages))
                self._drop_excess()
            raise Unavailable(f"the log of served pages waits for Redis: {error}") from error
        except Exception:
            self._lost.inc(len(pages))
            raise
        return len(pages)

    def _drop_excess(self) -> None:
        while len(self._waiting) > QUEUE_PAGES:
            self._waiting.popleft()
            self._lost.inc()

    def _write(self, pages: Sequence[ServedPage]) -> None:
        pipe = self._client.pipeline(transaction=False)
        for page in pages:
            stream = self._keys.served_stream(self._keys.partition(page.user_id))
            pipe.xadd(stream, {"served": _encoded(page)}, maxlen=STREAM_PAGES, approximate=True)
            history = self._keys.served_history(page.user_id)
            pipe.zadd(history, {encode_page(page.slate, page.stories): page.served_us // 1000}, gt=True)
            pipe.zremrangebyrank(history, 0, -1 - self._settings.served.history_pages)
            pipe.expire(history, self._settings.served.history_ttl_s)
        self._lost.inc(_damaged(pages, pipe.execute(raise_on_error=False)))


def _damaged(pages: Sequence[ServedPage], answers: Sequence[Any]) -> int:
    """How many pages cannot be written, ever; the answers are Redis', equally many a page. RedisError for any other fault."""
    each, found = len(answers) // len(pages), 0
    for i, page in enumerate(pages):
        errors = [answer for answer in answers[i * each : (i + 1) * each] if isinstance(answer, Exception)]
        for error in errors:
            if not str(error).startswith(_DAMAGED):
                raise error
        if errors:
            found += 1
            log.error("a page of %s cannot be noted whole, and is not tried again: %s", page.user_id, errors[0])
    return found


def _encoded(page: ServedPage) -> bytes:
    """A whole page as one JSON document: shared values once, the others as columns."""
    named = zip(page.sources, page.promoted, strict=True)
    return orjson.dumps(
        {
            "request_id": page.request_id,
            "user_id": page.user_id,
            "slate": page.slate,
            "snapshot": page.snapshot,
            "model": page.model,
            "served_us": page.served_us,
            "first_position": page.first_position,
            "story_id": list(page.story_ids),
            "source": [PROMOTED if promoted else source for source, promoted in named],
            "score": np.ascontiguousarray(page.scores),
            "propensity": np.ascontiguousarray(page.propensities),
            "features": None if page.features is None else np.ascontiguousarray(page.features),
        },
        option=_NUMPY,
    )


def served_rows(page: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A page's document as rows of the dataset `served`. ValueError, TypeError or KeyError when it is none."""
    shared = {name: page[name] for name in ("request_id", "user_id", "slate", "snapshot", "model")}
    columns = {name: page[name] for name in ("story_id", "source", "score", "propensity")}
    columns["features"] = page["features"] or [None] * len(page["story_id"])
    rows = zip(*columns.values(), strict=True)
    return [
        {**shared, "position": page["first_position"] + i, **dict(zip(columns, row, strict=True))}
        for i, row in enumerate(rows)
    ]
