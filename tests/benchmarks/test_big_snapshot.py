"""The snapshot that benchmarks draw holds all that a real one holds, so that the pipeline measured over it is whole."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import redis

from batch.snapshot_users import Ragged, Users
from benchmarks.big_snapshot import AS_OF, big_content, drawn_model, publish_big
from features.errors import Unavailable
from features.keys import Keys
from features.registry import FEATURES
from features.settings import Settings
from features.snapshot import AFFINITIES
from features.times import micros
from online.components import default_components
from online.context import Context
from online.feed.preparing import FeedRequest
from online.metrics import Metrics
from online.rankers.learned import ranker_for
from online.service_settings import OnlineSettings
from online.wiring import wire
from rex.local.redis_server import Server
from tests.fixtures_redis import redis_client, redis_server

__all__ = ["redis_client", "redis_server"]


def test_a_strict_feed_of_learned_models_is_made_from_it(
    redis_client: redis.Redis, redis_server: Server, tmp_path: Path
) -> None:
    settings = Settings(var=tmp_path, lake=tmp_path / "lake", redis_url=redis_server.url)
    publish_big(redis_client, Keys(settings.redis_prefix), stories=2_000, users=3)
    online = OnlineSettings(strict=True)
    rex = wire(redis_client, settings, online, default_components(), lambda: AS_OF, Metrics())
    rex.live.refresh()
    rex.live.loaded().ranker = ranker_for(online, drawn_model(), "drawn")
    assert len(rex.feeds.feed(FeedRequest("user-0", fresh=True), micros(AS_OF))["items"]) == 20
    wanted = {feature.name for feature in FEATURES}
    assert set(rex.live.loaded().ranker.inputs) == wanted, "the models read every registered feature"


def test_a_strict_service_makes_no_feed_without_a_part(
    redis_client: redis.Redis, redis_server: Server, tmp_path: Path
) -> None:
    class Broken:
        name: ClassVar[str] = "broken"
        reason: ClassVar[str] = "never shown"

        def rows(self, ctx: Context) -> Any:
            raise OSError("gone")

    settings = Settings(var=tmp_path, lake=tmp_path / "lake", redis_url=redis_server.url)
    publish_big(redis_client, Keys(settings.redis_prefix), stories=500, users=1)
    usual = default_components()
    with_it = replace(usual, providers=(*usual.providers, Broken()))
    for strict, fails in ((False, nullcontext()), (True, pytest.raises(Unavailable, match="broken failed"))):
        rex = wire(redis_client, settings, OnlineSettings(strict=strict), with_it, lambda: AS_OF, Metrics())
        rex.live.refresh()
        with fails:
            assert rex.feeds.feed(FeedRequest("user-0", fresh=True), micros(AS_OF))["degraded"] == ["broken"]


@pytest.mark.parametrize("target", AFFINITIES)
def test_every_field_of_an_affinity_is_drawn(target: str) -> None:
    drawn = big_content(stories=300, users=2, seed=0).users.fields
    lengths = {name: len(drawn[f"{target}_{name}"].of(0)) for name in ("affinity_ids", *AFFINITIES[target])}
    assert len(set(lengths.values())) == 1, lengths
    assert min(lengths.values()) > 0


def test_users_whose_affinities_lack_a_column_are_refused() -> None:
    """Annotators would raise for every one of them, and every feed would be degraded."""
    complete = big_content(stories=300, users=2, seed=0).users
    lacking = {name: values for name, values in complete.fields.items() if name != "topic_impressions"}
    with pytest.raises(ValueError, match="topic_impressions needs as many values for each user as topic_affinity_ids"):
        Users(complete.hashes, lacking)
    short = complete.fields | {"topic_impressions": Ragged(np.zeros(2, np.float32), np.array([0, 1, 2]))}
    with pytest.raises(ValueError, match="topic_impressions"):
        Users(complete.hashes, short)
    undated = {name: values for name, values in complete.fields.items() if name != "follow_author_at"}
    with pytest.raises(ValueError, match="follow_author_at needs as many values for each user as follow_author"):
        Users(complete.hashes, undated)
