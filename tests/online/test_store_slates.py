"""A slate is written once under its name, and what it promotes counts once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import redis

from features.keys import Keys
from online.chain import encode_chain
from online.columns import Hashes
from online.components import default_components
from online.slate import ORGANIC, Slate
from online.slate_making import slate_of
from online.store import PROMOTED_TTL_S, PersonStore, SlateEnds
from tests.online.small_world import context, everything, world

FIRST = SlateEnds(slate_ttl_s=600, chain_ttl_s=3600, day="20260131", surface="home")
PROMOTIONS = np.array([ORGANIC, 7, 7, -9], np.int64)
WORLD = world([{"id": f"s{i}"} for i in range(4)])


def a_slate(promotions: Hashes = PROMOTIONS) -> Slate:
    ranked = everything(WORLD)
    ranked.columns |= {"score": np.ones(4, np.float32), "promotion": promotions}
    return slate_of(context(WORLD), default_components(), ranked, 4)


def write(store: PersonStore, slate: Slate, ends: SlateEnds = FIRST) -> Slate | None:
    return store.write_slate("u", slate, slate.encode(), encode_chain(np.empty(0, np.int64), slate.stories), ends)


@pytest.fixture
def store(redis_client: redis.Redis) -> PersonStore:
    redis_client.flushall()
    return PersonStore(redis_client, Keys())


def test_promoted_entries_count_once_per_entry_also_when_two_write_the_slate(
    store: PersonStore, redis_client: redis.Redis
) -> None:
    for _ in range(2):
        assert write(store, a_slate()) is not None
    key = Keys().promoted("u", "20260131")
    assert redis_client.hgetall(key) == {b"7": b"2", b"-9": b"1"}
    assert 0 < redis_client.ttl(key) <= PROMOTED_TTL_S  # type: ignore[operator]
    assert store.read_for_build("u", "20260131").promoted == {7: 2, -9: 1}
    assert store.read_for_build("u", "20260201").promoted == {}


def test_the_first_slate_under_a_name_is_in_force(store: PersonStore) -> None:
    first = a_slate()
    second = replace(first, stories=first.stories[::-1].copy())
    write(store, first)
    kept = write(store, second)
    assert kept is not None
    assert kept.stories.tolist() == first.stories.tolist()
    assert store.read_kept("u", first.info.id).slate is not None


def test_a_continuation_is_not_written_anew_while_its_chain_is_remembered(
    store: PersonStore, redis_client: redis.Redis
) -> None:
    continuation = replace(FIRST, surface=None)
    slate = a_slate()
    assert write(store, slate, continuation) is slate
    redis_client.delete(Keys().slate("u", slate.info.id))
    assert write(store, slate, continuation) is None
    assert not redis_client.exists(Keys().latest_slates("u"))
