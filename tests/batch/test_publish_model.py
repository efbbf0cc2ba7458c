"""A model is published, kept and removed with its snapshot, and refused while readers keep what they have."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import redis

from batch.publish import publish_content
from batch.snapshot_content import checked_model
from batch.versions import rollback
from features.errors import BadInput, Unavailable
from features.keys import Keys
from features.packing import name_of
from features.snapshot import Manifest, digest
from features.snapshot_reader import current_version, read_model
from lake.models import file_of, release
from online.rankers.models import model_file
from online.rankers.models.model import Model
from online.rankers.models.model_file import encode
from tests.fixtures_redis import redis_client, redis_server
from tests.online.small_world import NOW, content

__all__ = ["redis_client", "redis_server"]
KEYS = Keys()
STORIES = [{"id": "s1"}]


def publish(client: redis.Redis, model: bytes | None, hour: int, kept: int = 2) -> Manifest:
    made = content(STORIES, {}, NOW - timedelta(hours=24 - hour), model=model)
    return publish_content(lambda: made, client, KEYS, now=NOW, kept=kept)


def test_a_model_is_a_piece_of_its_snapshot_and_counts_in_its_size(redis_client: redis.Redis, model: Model) -> None:
    data = encode(model)
    without, with_one = publish(redis_client, None, 0), publish(redis_client, data, 1)
    assert (without.model, with_one.model) == ("", digest(data))
    assert read_model(redis_client, KEYS, with_one) == data
    assert with_one.size_bytes >= without.size_bytes + len(data)


def test_it_goes_with_the_last_snapshot_that_needs_it(redis_client: redis.Redis, model: Model) -> None:
    data, other = encode(model), encode(replace(model, weights={**model.weights, "open": 2.0}))
    blob = KEYS.blob(digest(data))
    for hour in (0, 1):
        publish(redis_client, data, hour)
    publish(redis_client, other, 2)
    assert redis_client.exists(blob), "one kept snapshot has it"
    publish(redis_client, other, 3)
    assert not redis_client.exists(blob)


@pytest.mark.parametrize("damage", ["cut short", "other features"])
def test_one_that_cannot_be_used_is_not_published(
    redis_client: redis.Redis, model: Model, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    good = publish(redis_client, encode(model), 0)
    data = encode(model)[:-9]
    if damage == "other features":
        with monkeypatch.context() as older:
            older.setattr(model_file, "definitions", lambda features: {"a_new_feature": ["story", 0.0]})
            data = encode(model)
    with pytest.raises(Unavailable, match="damaged" if damage == "cut short" else "a_new_feature"):
        publish(redis_client, data, 1)
    assert current_version(redis_client, KEYS) == good.version


def test_nobody_rolls_back_to_a_damaged_one(redis_client: redis.Redis, model: Model) -> None:
    first, second = publish(redis_client, encode(model), 0), publish(redis_client, None, 1)
    redis_client.set(KEYS.blob(first.model), b"not the model")
    with pytest.raises(Unavailable, match="damaged"):
        rollback(redis_client, KEYS, first.version)
    assert current_version(redis_client, KEYS) == second.version


def test_the_released_model_of_a_lake_is_checked_before_anything_is_read(tmp_path: Path, model: Model) -> None:
    assert checked_model(tmp_path) is None
    data = encode(model)
    release(tmp_path, data, as_of=NOW, now=NOW)
    assert checked_model(tmp_path) == data
    file_of(tmp_path, name_of(data)).write_bytes(data + b"\0")
    with pytest.raises(BadInput, match="other bytes than were released"):
        checked_model(tmp_path)
