"""The contract of training and serving: what a running server computes from Redis is what the training set holds, to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import redis
from fastapi import FastAPI
from pyspark.sql import SparkSession

from batch.publish import publish
from batch.run import run
from batch.settings import BatchSettings
from features.duckdb_views import connect, partition_name
from features.keys import PARTITIONS, Keys
from features.registry import FEATURES
from features.settings import Settings
from lake.simulator.config import WorldConfig
from lake.simulator.run import simulate
from local.redis_server import Server
from online.app import create_app
from online.archiver import read_positions
from online.clock import micros
from online.columns import Candidates
from online.pipeline import Pipeline
from online.stream import START
from online.wiring import AppState
from tests.fixtures_redis import redis_client, redis_server
from tests.online.conftest import OFTEN, FeedServer, serving, wait_until

__all__ = ["redis_client", "redis_server"]

AS_OF = datetime(2026, 1, 31, tzinfo=UTC)
"""A moment of the grid; all of the simulated world is before it."""
HOUR = timedelta(hours=1)
ASKED = AS_OF + 8 * HOUR
"""When the server is asked, and the impressions happen."""
TRAINED = AS_OF + timedelta(days=2)
SETTINGS = BatchSettings(als_rank=8, als_iterations=2)
PEOPLE, STORIES = 120, 300
KNOWN, NEWCOMERS, FRESH = 36, 6, 24
NAMES = tuple(feature.name for feature in FEATURES)
Values = dict[tuple[str, str], np.ndarray]
"""(person, story) → float32[features]"""


class Site:
    """A running server over a world that ended at AS_OF, and what happens on it afterwards."""

    def __init__(self, app: FastAPI, served: FeedServer) -> None:
        self.app = app
        self.served = served
        self.rng = np.random.default_rng(4)
        self.sent = 0
        with connect(served.settings.lake, AS_OF) as db:
            self.stories = [row[0] for row in db.sql("SELECT story_id FROM story_features ORDER BY 1").fetchall()]
            self.authors = [row[0] for row in db.sql("SELECT author_id FROM author_features ORDER BY 1").fetchall()]
            self.topics = [row[0] for row in db.sql("SELECT topic_id FROM topic_features ORDER BY 1").fetchall()]
            self.readers = db.sql("""
                SELECT user_id, follow_authors, follow_publications, follow_topics FROM user_profiles
                ORDER BY len(read) DESC, user_id
            """).fetchall()
            self.in_series = [row[0] for row in db.sql("SELECT publication_id FROM publication_features").fetchall()]

    @property
    def rex(self) -> AppState:
        state: AppState = self.app.state.rex
        return state

    def people(self) -> list[str]:
        """Those who read most, and people of whom the snapshot knows nothing."""
        return [row[0] for row in self.readers[:KNOWN]] + [f"new-{number}" for number in range(NEWCOMERS)]

    def do(self, user: str, kind: str, **more: Any) -> dict[str, Any]:
        self.sent += 1
        return self.served.event(f"since-{self.sent}", user, kind, **more)

    def some(self, of: list[str], n: int) -> list[str]:
        return [of[at] for at in self.rng.choice(len(of), min(n, len(of)), replace=False)]

    def put(self, story_id: str, **document: Any) -> None:
        body = {"published_at": self.served.now.isoformat(), **document}
        answer = self.served.http.put(f"/v1/stories/{story_id}", json=body)
        assert answer.status_code == 202, answer.text

    def withdraw(self, story_id: str) -> None:
        assert self.served.http.delete(f"/v1/stories/{story_id}").status_code == 202


def happen(site: Site) -> None:
    """Seven hours after the snapshot: fresh stories, changed and withdrawn ones, follows and their undoing, reads, newcomers."""
    for hour in range(1, 8):
        site.served.now = AS_OF + hour * HOUR
        for number in range(hour, FRESH, 7):
            author = (site.authors[number % len(site.authors)], f"new-author-{number}", None)[number % 3]
            topics = [*site.some(site.topics, number % 3), *(["new-topic"] if number % 4 == 0 else [])]
            publication = (None, site.in_series[number % len(site.in_series)], "new-publication")[number % 3]
            site.put(f"fresh-{number}", author_id=author, publication_id=publication, topics=topics)
        site.served.now += timedelta(minutes=10)
        events = []
        for user, authors, publications, topics in [
            *site.readers[:KNOWN],
            *((u, [], [], []) for u in site.people()[KNOWN:]),
        ]:
            if site.rng.random() < 0.5:
                continue
            events += [site.do(user, "read", story_id=story) for story in site.some(site.stories, 3)]
            events += [
                site.do(user, "read", story_id=f"fresh-{hour}"),
                site.do(user, "open", story_id=site.stories[hour]),
            ]
            events += [site.do(user, "follow", target_type="author", target_id=a) for a in site.some(site.authors, 2)]
            events += [site.do(user, "follow", target_type="topic", target_id=t) for t in site.some(site.topics, 1)]
            events += [site.do(user, "follow", target_type="author", target_id=f"new-author-{hour}")]
            events += [
                site.do(user, "follow", target_type="publication", target_id=p) for p in site.some(site.in_series, 1)
            ]
            for kind, followed in (("author", authors), ("publication", publications), ("topic", topics)):
                events += [site.do(user, "unfollow", target_type=kind, target_id=t) for t in followed[:1]]
        for start in range(0, len(events), 500):
            site.served.send(*events[start : start + 500])
    site.put(site.stories[0], author_id=site.authors[3], topics=site.topics[:2], title="Changed, by another author")
    site.put("fresh-1", author_id=site.authors[5], title="Changed, and its first author's rates stay")
    site.withdraw(site.stories[1])
    site.withdraw(site.stories[2])
    site.put(site.stories[2], author_id=site.authors[4], title="Back again")


def served_values(site: Site) -> Values:
    """Every feature of every story there is, for each of the people, as the running server annotates its candidates."""
    found: Values = {}
    pipeline = Pipeline(site.rex.feeds.components, lambda ctx, slate: None)
    for user in site.people():
        ctx, _ = site.rex.feeds.context(user, micros(ASKED))
        ctx.wanted = frozenset(NAMES)
        rows = np.setdiff1d(np.arange(len(ctx.world), dtype=np.int32), ctx.world.superseded)
        columns = pipeline.annotate(ctx, Candidates(rows, np.ones(len(rows), np.uint32))).columns
        assert ctx.trace.degraded == []
        matrix = np.stack([columns[name] for name in NAMES], axis=1)
        found |= {(user, ctx.world.story_id(int(row))): matrix[at] for at, row in enumerate(rows)}
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
    config = WorldConfig(people=PEOPLE, stories=STORIES, events=12_000, days=5, seed=11, ends_at=AS_OF)
    simulate(config, lake)
    run(lake, [AS_OF], now=AS_OF, settings=SETTINGS, spark=spark)
    return lake


@pytest.fixture
def site(redis_server: Server, redis_client: redis.Redis, site_lake: Path, tmp_path: Path) -> Iterator[Site]:
    """The world served over HTTP, by a clock that the test sets."""
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
    jobs = ["valid_stories", "valid_edges", "valid_events", "training_examples"]
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
    for user in site.people()[:: KNOWN // 4]:
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
    assert len(np.unique(fresh[:, NAMES.index("story_open_rate")])) > 3, "fresh stories have their authors' rates"
    constant = [name for at, name in enumerate(NAMES) if len({values[at] for values in served.values()}) < 3]
    assert set(constant) <= {"follows_author", "follows_publication"}, "only flags have two values"
