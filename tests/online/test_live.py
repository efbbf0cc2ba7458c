"""What a process holds: each stream entry becomes a row once, whoever read it, and a request keeps the snapshot it began with."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import orjson
import redis

from batch.publish import publish_content
from features.keys import Keys
from online.feed.snapshot_loader import LiveSnapshot, Loaded
from online.rankers.weighted import Weighted
from online.story_table.table import StoryTable
from tests.online.small_world import NOW, content, everything, ids, story_table
from tests.online.test_delta import document, entries

KEYS = Keys()
STORY: dict[str, Any] = {"id": "s-old"}
NEW = entries(*({"id": f"s{i:03}", "author": f"a{i % 7}"} for i in range(200)))


def publish(client: redis.Redis, after_h: float) -> None:
    made = content([STORY], {}, NOW - timedelta(hours=12 - after_h))
    publish_content(lambda: made, client, KEYS, now=NOW, kept=3)


def test_requests_that_read_the_same_tail_add_its_stories_once(redis_client: redis.Redis) -> None:
    loaded = Loaded(redis_client, KEYS, story_table([STORY]), Weighted())
    assert ids(*both(loaded.advance(NEW[:3]))) == ["s-old", "s000", "s001", "s002"]
    assert ids(*both(loaded.advance(NEW[1:5]))) == ["s-old", "s000", "s001", "s002", "s003", "s004"]
    assert loaded.advance(NEW[:2]) is loaded.story_table


def both(of: StoryTable) -> tuple[StoryTable, Any]:
    return of, everything(of)


def test_requests_side_by_side_each_see_what_they_read_and_no_world_changes_after(redis_client: redis.Redis) -> None:
    loaded = Loaded(redis_client, KEYS, story_table([STORY]), Weighted())
    seen: list[tuple[int, StoryTable, list[str]]] = []

    def requests(first: int) -> None:
        for end in range(first, len(NEW) + 1, 8):
            taken = loaded.advance(NEW[:end])
            seen.append((end, taken, ids(*both(taken))))

    threads = [threading.Thread(target=requests, args=(first,)) for first in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == len(NEW)
    in_order = ["s-old", *(f"s{i:03}" for i in range(200))]
    assert ids(*both(loaded.story_table)) == in_order
    for end, taken, told in seen:
        assert len(taken) > end
        assert told == ids(*both(taken)) == in_order[: len(taken)]


def test_a_request_that_began_before_a_swap_goes_on_with_its_snapshot(redis_client: redis.Redis) -> None:
    live = LiveSnapshot(redis_client, KEYS)
    publish(redis_client, 0)
    assert live.refresh()
    begun = live.loaded()
    publish(redis_client, 1)
    assert live.refresh()
    moved = begun.advance(NEW[:1])
    assert (moved.version, moved.row("s000")) == (begun.story_table.version, 1)
    assert live.get().version != moved.version
    assert live.get().row("s000") == -1


def test_following_applies_what_came_meanwhile_and_says_that_nothing_was_swapped(redis_client: redis.Redis) -> None:
    live = LiveSnapshot(redis_client, KEYS)
    publish(redis_client, 0)
    live.refresh()
    position = redis_client.xadd(KEYS.story_stream(), {"story": orjson.dumps(document({"id": "s-new"}))})
    assert not live.refresh()
    assert (live.get().row("s-new"), live.get().position) == (1, position.decode())  # type: ignore[union-attr]
