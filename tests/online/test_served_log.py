"""What was answered: logged without slowing anyone, moved to the lake, and remembered for each user within bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from prometheus_client import Counter

from features.datasets import dataset
from features.duckdb_views import connect
from features.errors import Unavailable
from features.keys import hash64_many
from features.lake_files import inspect
from features.registry import FEATURES
from features.times import micros
from online.feed.served_log import PROMOTED, ServedLog, ServedPage
from online.http.app import create_app
from online.service_settings import OnlineSettings
from online.slates.slate import identify
from online.slates.slate_making import sampled
from online.streams.archive_files import convert
from online.streams.archiver import archive
from online.user.served_history import decode_history
from rex.local.redis_server import server
from tests.online.archive_lake import KEYS, NOW
from tests.online.conftest import FeedServer, serving, wait_until

STREAM = KEYS.served_stream(KEYS.partition("u1"))


def page(number: int = 0, stories: tuple[str, ...] = ("s1", "s2"), **more: Any) -> ServedPage:
    """The first page of slate `number`, answered `number` seconds after NOW."""
    k = len(stories)
    known: dict[str, Any] = {
        "request_id": f"r{number}",
        "user_id": "u1",
        "slate": identify(number),
        "snapshot": "20260131T000000Z-1",
        "model": "weighted",
        "served_us": micros(NOW) + number * 1_000_000,
        "first_position": 20,
        "story_ids": stories,
        "stories": hash64_many(list(stories)),
        "sources": ["trending"] * k,
        "promoted": np.zeros(k, bool),
        "scores": np.linspace(1, 0.5, k, dtype=np.float32),
        "propensities": np.ones(k),
        "features": None,
    }
    return ServedPage(**(known | more))


def log_of(client: redis.Redis, **settings: Any) -> tuple[ServedLog, Counter]:
    lost = Counter("lost", "lost", registry=None)
    return ServedLog(client, KEYS, OnlineSettings(served=settings), lost), lost


def lost_pages(lost: Counter) -> float:
    return lost._value.get()  # type: ignore[no-any-return]


def test_a_page_goes_to_the_lake_as_one_row_an_item_and_leaves_redis(redis_client: redis.Redis, tmp_path: Path) -> None:
    log, _ = log_of(redis_client)
    features = np.full((2, len(FEATURES)), np.nan, np.float32)
    features[0, 1] = 0.25
    log.note(page(0))
    log.note(page(1, promoted=np.array([True, False]), features=features))
    assert log.flush() == 2
    assert archive(redis_client, KEYS, tmp_path) == 2
    with connect(tmp_path) as lake:
        columns = (
            "request_id, position, user_id, slate, story_id, source, propensity, snapshot, model, score, dt::VARCHAR"
        )
        rows = lake.execute(f"SELECT {columns} FROM served ORDER BY request_id, position").fetchall()
        vectors = lake.execute("SELECT features FROM served ORDER BY request_id, position").fetchall()
    shared = ("20260131T000000Z-1", "weighted")
    assert rows == [
        ("r0", 20, "u1", identify(0), "s1", "trending", 1.0, *shared, 1.0, "2026-01-31"),
        ("r0", 21, "u1", identify(0), "s2", "trending", 1.0, *shared, 0.5, "2026-01-31"),
        ("r1", 20, "u1", identify(1), "s1", PROMOTED, 1.0, *shared, 1.0, "2026-01-31"),
        ("r1", 21, "u1", identify(1), "s2", "trending", 1.0, *shared, 0.5, "2026-01-31"),
    ]
    assert vectors[0] == (None,), "a slate that is not sampled has no vector"
    assert (len(vectors[2][0]), vectors[2][0][:3]) == (len(FEATURES), [None, 0.25, None])
    assert redis_client.xlen(STREAM) <= 1, "what is archived is not kept but for the entry that tells how far"


def test_the_batch_accepts_a_lake_with_it(redis_client: redis.Redis, tmp_path: Path) -> None:
    log, _ = log_of(redis_client)
    log.note(page())
    log.flush()
    archive(redis_client, KEYS, tmp_path)
    declared = dataset("served")
    (group,) = inspect(declared, tmp_path / "raw" / "served")
    assert group.rows == 2


def test_history_holds_each_story_of_each_slate_once_and_is_bounded(redis_client: redis.Redis) -> None:
    log, _ = log_of(redis_client, history_pages=3, history_ttl_s=3600)
    for number in (*range(5), 4):
        log.note(page(number))
    log.flush()
    key = KEYS.served_history("u1")
    raw: Any = redis_client.zrange(key, 0, -1, withscores=True)
    history = decode_history(raw)
    seconds = sorted((history.served_us - micros(NOW)) // 1_000_000)
    assert seconds == [2, 2, 3, 3, 4, 4]
    assert 0 < redis_client.ttl(key) <= 3600
    assert redis_client.zcard(key) == 3


def test_a_full_queue_drops_the_oldest_and_counts_it(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("online.feed.served_log.QUEUE_PAGES", 3)
    log, lost = log_of(redis_client)
    for number in range(5):
        log.note(page(number))
    assert log.flush() == 3
    assert lost_pages(lost) == 2
    assert [entry[1][b"served"][:20] for entry in redis_client.xrange(STREAM)] == [  # type: ignore[union-attr]
        b'{"request_id":"r%d","' % number for number in (2, 3, 4)
    ]


def test_pages_wait_while_redis_is_away(tmp_path: Path) -> None:
    with server(tmp_path) as own, own.client() as client:
        log, lost = log_of(client)
        log.note(page(0))
        own.kill()
        with pytest.raises(Unavailable):
            log.flush()
        log.note(page(1))
        own.start()
        assert log.flush() == 2
        assert (client.xlen(STREAM), lost_pages(lost)) == (2, 0)


def test_a_damaged_history_holds_up_nobody(redis_client: redis.Redis) -> None:
    log, lost = log_of(redis_client)
    redis_client.set(KEYS.served_history("u1"), "no sorted set")
    log.note(page(1))
    log.note(page(2, user_id="u2"))
    assert [log.flush(), log.flush()] == [2, 0], "pages are written again and again"
    assert (redis_client.zcard(KEYS.served_history("u2")), lost_pages(lost)) == (1, 1)


def test_a_service_that_stops_in_good_order_loses_nothing(served: FeedServer) -> None:
    seldom = OnlineSettings(served={"flush_s": 60}, streams={"archive_every_s": 3600})
    with serving(create_app(served.settings, seldom, clock=lambda: served.now)) as http:
        page = http.get("/v1/users/u-stopping/feed").json()
    raw: Any = served.client.zrange(served.keys.served_history("u-stopping"), 0, -1, withscores=True)
    assert len(decode_history(raw).stories) == len(page["items"]) > 0


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.3, 1.0])
def test_the_stated_share_of_slates_is_sampled_always_the_same_ones(rate: float) -> None:
    chosen = [sampled(identify(number), rate) for number in range(20_000)]
    assert chosen == [sampled(identify(number), rate) for number in range(20_000)]
    assert abs(np.mean(chosen) - rate) < 0.01


def test_what_a_reader_was_answered_is_in_the_lake(served: FeedServer) -> None:
    first = served.feed("u-fan", limit=5)
    second = served.feed("u-fan", limit=5, cursor=first["next_cursor"])
    files = served.settings.lake / "raw" / "served"
    wait_until(lambda: len(_rows(files)) == 10)
    answered = [
        (answer["request_id"], item["position"], item["story_id"], item["sources"][0], 1.0, answer["slate"]["id"])
        for answer in (first, second)
        for item in answer["items"]
    ]
    assert sorted(_rows(files)) == sorted(answered)
    key = served.keys.served_history("u-fan")
    assert served.client.zcard(key) == 2


def _rows(files: Path) -> list[tuple[Any, ...]]:
    if not any(files.rglob("*.parquet")):
        return []
    with connect(files.parents[1]) as lake:
        return lake.execute("SELECT request_id, position, story_id, source, propensity, slate FROM served").fetchall()


def test_a_page_dated_beyond_all_calendars_is_refused_like_any_other_bad_entry() -> None:
    assert convert([(b"1-0", {b"served": b'{"served_us": 1%s}' % (b"0" * 23)})]).refused.keys() == {b"1-0"}
