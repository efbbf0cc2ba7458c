"""The contract of training and serving: what a running server computes from Redis is what the training set holds, to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import redis
from pyspark.sql import SparkSession

from batch.publish import publish
from batch.run import run
from batch.settings import BatchSettings
from features.keys import PARTITIONS, Keys
from features.lake_layout import partition_name
from features.registry import FEATURES
from features.settings import Settings
from features.streams import START
from features.times import micros
from lake.simulator.config import WorldConfig
from lake.simulator.run import simulate
from online.columns import Candidates
from online.http.app import create_app
from online.pipeline import Pipeline
from online.streams.archiver import read_positions
from rex.local.redis_server import Server
from tests.fixtures_redis import redis_client, redis_server
from tests.lakes import write_rows
from tests.live_site import AS_OF, HOUR, KNOWN, Site, happen
from tests.online.conftest import OFTEN, FeedServer, serving, wait_until

__all__ = ["redis_client", "redis_server"]

ASKED = AS_OF + 8 * HOUR
"""When the server is asked, and the impressions happen."""
TRAINED = AS_OF + timedelta(days=2)
SETTINGS = BatchSettings(als_rank=4, als_iterations=1)
USERS, STORIES = 120, 300
NAMES = tuple(feature.name for feature in FEATURES)
Values = dict[tuple[str, str], np.ndarray]
"""(user, story) → float32[features]"""


def served_values(site: Site) -> Values:
    """Every feature of every story there is, for each of the users, as the running server annotates its candidates."""
    found: Values = {}
    pipeline = Pipeline(site.rex.feeds.components, lambda ctx, slate: None)
    for user in site.users():
        ctx = site.rex.feeds.context(user, micros(ASKED))
        ctx = replace(ctx, wanted=frozenset(NAMES))
        rows = np.setdiff1d(np.arange(len(ctx.story_table), dtype=np.int32), ctx.story_table.superseded)
        columns = pipeline.annotate(ctx, Candidates(rows, np.ones(len(rows), np.uint32))).columns
        assert ctx.trace.degraded == []
        matrix = np.stack([columns[name] for name in NAMES], axis=1)
        found |= {(user, ctx.story_table.story_id(int(row))): matrix[at] for at, row in enumerate(rows)}
    return found


def show(site: Site, pairs: list[tuple[str, str]]) -> None:
    """An impression of every pair, through the API."""
    site.served.now = ASKED
    events = [site.do(user, "impression", story_id=story, request_id="contract") for user, story in pairs]
    for start in range(0, len(events), 1000):
        assert site.served.send(*events[start : start + 1000])["rejected"] == []


@pytest.fixture(scope="module")
def site_lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated world with its features of AS_OF."""
    lake = tmp_path_factory.mktemp("site") / "lake"
    config = WorldConfig(users=USERS, stories=STORIES, events=12_000, days=5, seed=11, ends_at=AS_OF)
    simulate(config, lake)
    told, out = AS_OF - HOUR, ASKED - HOUR
    scheduled = {
        "story_id": "scheduled",
        "author_id": "u000001",
        "published_at": out,
        "updated_at": told,
        "received_at": told,
    }
    write_rows(lake, "stories", [scheduled], "scheduled.parquet")
    run(lake, [AS_OF], now=AS_OF, settings=SETTINGS, spark=spark)
    return lake


@pytest.fixture
def site(redis_server: Server, redis_client: redis.Redis, site_lake: Path, tmp_path: Path) -> Iterator[Site]:
    """The story table served over HTTP, by a clock that the test sets."""
    settings = Settings(var=tmp_path, lake=site_lake, redis_url=redis_server.url)
    keys = Keys(settings.redis_prefix)
    version = publish(site_lake, AS_OF, redis_client, keys, now=AS_OF, kept=3).version
    served = FeedServer(None, redis_client, keys, settings, now=AS_OF)  # type: ignore[arg-type]
    app = create_app(settings, OFTEN, clock=lambda: served.now)
    with serving(app) as served.http:
        served.wait_for(version)
        yield Site(app, served)


def trained_values(lake: Path, spark: SparkSession) -> Values:
    """The same from the training Parquet."""
    jobs = ["valid_stories", "valid_edges", "valid_events", "valid_promotions", "training_examples"]
    run(lake, [TRAINED], now=TRAINED, settings=SETTINGS, jobs=jobs, spark=spark)
    table = pq.read_table(lake / "features" / "training_examples" / partition_name(TRAINED), partitioning=None)
    assert set(table["request_id"].to_pylist()) == {"contract"}, (
        "examples of other moments have no features to be made of"
    )
    matrix = np.stack([table[name].to_numpy() for name in NAMES], axis=1)
    pairs = zip(table["user_id"].to_pylist(), table["story_id"].to_pylist(), strict=True)
    return dict(zip(pairs, matrix, strict=True))


def test_a_server_and_the_training_set_have_the_same_bits(site: Site, spark: SparkSession) -> None:
    happen(site)
    served = served_values(site)
    check_explained(site, served)
    show(site, list(served))
    wait_until(lambda: unarchived(site) == 0, within_s=60.0)
    trained = trained_values(site.served.settings.lake, spark)
    check_that_much_was_compared(served)
    assert trained.keys() == served.keys()
    ours, theirs = (np.stack([values[pair] for pair in sorted(values)]) for values in (trained, served))
    for at, name in enumerate(NAMES):
        differ = np.flatnonzero(ours[:, at].view(np.int32) != theirs[:, at].view(np.int32))
        examples = [(sorted(served)[i], ours[i, at], theirs[i, at]) for i in differ[:5]]
        assert not len(differ), f"{name} differs for {len(differ)} of {len(ours)} pairs, for example {examples}"


def unarchived(site: Site) -> int:
    """Entries that the server's own archiver has not moved to the lake yet."""
    keys, held = site.served.keys, read_positions(site.served.settings.lake)
    streams = [keys.story_stream(), *(keys.event_stream(partition) for partition in range(PARTITIONS))]
    return sum(len(site.served.client.xrange(s, f"({held.get(s, START)}", "+")) for s in streams)  # type: ignore[arg-type]


def check_explained(site: Site, served: Values) -> None:
    """What `explain` tells over HTTP is among what was compared."""
    site.served.now = ASKED
    told = 0
    for user in site.users()[:: KNOWN // 4]:
        for story in (*site.stories[5:9], "fresh-3"):
            answer = site.served.http.get(f"/v1/users/{user}/feed/explain", params={"story_id": story}).json()
            for name, value in answer["story"].get("features", {}).items():
                told += 1
                assert np.float32(value) == served[user, story][NAMES.index(name)], (user, story, name)
    assert told > 100


def check_that_much_was_compared(served: Values) -> None:
    """Guards the comparison: enough pairs, newcomers and fresh stories among them, no feature that is the same for all."""
    assert len(served) >= 10_000
    newcomers = np.stack([values for (user, _), values in served.items() if user.startswith("new-")])
    fresh = np.stack([values for (_, story), values in served.items() if story.startswith("fresh-")])
    assert len(newcomers) >= 1000
    assert len(fresh) >= 500
    assert (newcomers[:, NAMES.index("follows_author")] > 0).any()
    assert (newcomers[:, NAMES.index("similarity")] > 0).any()
    assert ("new-0", "scheduled") in served, "known before the snapshot, published after it"
    assert len(np.unique(fresh[:, NAMES.index("story_open_rate")])) > 3, "fresh stories have their authors' rates"
    constant = [name for at, name in enumerate(NAMES) if len({values[at] for values in served.values()}) < 3]
    assert set(constant) <= {"follows_author", "follows_publication"}, "only flags have two values"
