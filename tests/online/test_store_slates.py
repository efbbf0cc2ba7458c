"""A slate is written once under its name, and what it promotes counts once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import redis

from features.arrays import Hashes
from features.keys import Keys
from features.snapshot import NO_CAP
from online.slates.pagination_session import encode_session
from online.slates.slate import ORGANIC, Slate
from online.slates.slate_making import slate_of
from online.slates.slate_store import PROMOTED_TTL_S, CapReached, SlateEnds, SlateStore
from online.user.store import UserStore
from tests.online.small_world import context, everything, story_table

FIRST = SlateEnds(slate_ttl_s=600, pagination_session_ttl_s=3600, day="20260131", surface="home")
PROMOTIONS = np.array([ORGANIC, 7, 7, -9], np.int64)
WORLD = story_table([{"id": f"s{i}"} for i in range(4)])


def a_slate(promotions: Hashes = PROMOTIONS) -> Slate:
    ranked = everything(WORLD)
    ranked.columns |= {"score": np.ones(4, np.float32), "promotion": promotions}
    return slate_of(context(WORLD), ranked, 4)


def write(store: SlateStore, slate: Slate, ends: SlateEnds = FIRST) -> Slate | None:
    return store.write("u", slate, slate.encode(), encode_session(np.empty(0, np.int64), slate.stories), ends)


@pytest.fixture
def store(redis_client: redis.Redis) -> SlateStore:
    redis_client.flushall()
    return SlateStore(redis_client, Keys())


def test_promoted_entries_count_once_per_entry_also_when_two_write_the_slate(
    store: SlateStore, redis_client: redis.Redis
) -> None:
    for _ in range(2):
        assert write(store, a_slate()) is not None
    key = Keys().promoted("u", "20260131")
    assert redis_client.hgetall(key) == {b"7": b"2", b"-9": b"1"}
    assert 0 < redis_client.ttl(key) <= PROMOTED_TTL_S  # type: ignore[operator]
    assert UserStore(redis_client, Keys()).read_for_build("u", "20260131").promoted == {7: 2, -9: 1}
    assert UserStore(redis_client, Keys()).read_for_build("u", "20260201").promoted == {}


def test_a_slate_that_would_pass_a_cap_is_not_written_and_counts_nothing(
    store: SlateStore, redis_client: redis.Redis
) -> None:
    capped = replace(FIRST, caps={-9: 1, 7: NO_CAP})
    first, second = a_slate(), a_slate()
    second = replace(second, info=replace(second.info, id="ff" * 12))
    assert write(store, first, capped) is first
    with pytest.raises(CapReached):
        write(store, second, capped)
    assert redis_client.hget(Keys().promoted("u", "20260131"), "7") == b"2"
    assert not redis_client.exists(Keys().slate("u", second.info.id), Keys().pagination_session("u", second.info.id))


def test_a_damaged_history_is_gone_without_and_told(redis_client: redis.Redis) -> None:
    redis_client.flushall()
    redis_client.zadd(Keys().served_history("u"), {b"no page": 1.0})
    reading = UserStore(redis_client, Keys()).read_for_build("u", "20260131")
    assert (len(reading.served.stories), reading.degraded) == (0, ("served_history",))


def test_the_first_slate_under_a_name_is_in_force(store: SlateStore) -> None:
    first = a_slate()
    second = replace(first, stories=first.stories[::-1].copy())
    write(store, first)
    kept = write(store, second)
    assert kept is not None
    assert kept.stories.tolist() == first.stories.tolist()
    assert store.read("u", first.info.id).slate is not None


def test_a_continuation_is_not_written_anew_while_its_session_is_remembered(
    store: SlateStore, redis_client: redis.Redis
) -> None:
    continuation = replace(FIRST, surface=None)
    slate = a_slate()
    assert write(store, slate, continuation) is slate
    redis_client.delete(Keys().slate("u", slate.info.id))
    assert write(store, slate, continuation) is None
    assert not redis_client.exists(Keys().latest_slates("u"))
