"""Data of which nobody knows when anything happened, from the import to the feed: what is known is used, what is not stays absent."""

from __future__ import annotations

import math
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import redis
from pyspark.sql import SparkSession

from batch.backfill import make_examples
from batch.publish import publish
from batch.run import run
from batch.settings import BatchSettings
from batch.snapshot_content import READS
from batch.tuning.tune import tune
from evaluation.run import evaluate
from features.duckdb_views import connect
from features.errors import BadInput
from features.keys import Keys, hash64
from features.registry import BY_NAME
from features.settings import Settings
from features.snapshot import PROFILE
from features.snapshot_reader import profile_place, read_bucket, read_tables
from features.times import UNDATED
from lake.importing.sql_import import import_sql
from online.http.app import create_app
from rex.local.redis_server import Server
from tests.lakes import NOON, Row, ago, event, write_rows
from tests.online.conftest import OFTEN, serving

pytest_plugins = ["tests.fixtures_redis"]
SETTINGS = BatchSettings(als_rank=2, als_iterations=2, als_min_users=1, als_min_stories=1)
JOBS = [*READS, "valid_users", "valid_edges", "valid_events", "story_counters"]
"""What a snapshot is made of, and what that is made of."""
READ = ("stories", "events")
RECEIVED = ago(days=2)
"""What `--as-of` says."""


def paper(story_id: str, **more: Any) -> Row:
    return {"story_id": story_id, "published_at": None, **more}


def did(user_id: str, kind: str, story_id: str, **more: Any) -> Row:
    return {"user_id": user_id, "type": kind, "story_id": story_id, "occurred_at": None, **more}


PAPERS = [
    paper("known", author_id="ann", topics=["x"], title="On lakes"),
    paper("quiet", author_id="ann", topics=["x"], title="On ponds"),  # nobody did anything with it
    paper("less known", author_id="bob", topics=["y"], title="On rivers"),
    paper("corrected", updated_at=ago(days=1), title="On wells"),  # when it was changed is known
]
DONE = [
    *(did(f"u{n}", "read", "known") for n in range(4)),
    *(did(f"u{n}", "read", "less known") for n in range(2)),
    did("u0", "read", "less known"),  # again; without ids, repeats stay
    did("u3", "impression", "less known"),
    did("u3", "impression", "less known"),
    did("u3", "hide", "corrected"),
    did("u2", "hide", "known"),
    did("u2", "unhide", "known", received_at=ago(days=1)),
]

SERVED = event("u9", "read", "corrected", ago(hours=1))
"""What the service has archived since: it has a date, and the others stay good."""


@pytest.fixture(scope="module")
def lake(spark: SparkSession, one_partition: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    files, lake = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("undated") / "lake"
    for name, found in {"stories": PAPERS, "events": DONE}.items():
        write_rows(files, name, found)
    views = (f"CREATE VIEW {name} AS SELECT * FROM parquet('raw/{name}/part-00000.parquet');" for name in READ)
    (files / "import.sql").write_text("\n".join(views))
    import_sql(files / "import.sql", lake, as_of=RECEIVED, now=NOON)
    write_rows(
        lake, "events", [SERVED], "dt=2026-01-31/archive-0-events-1769817600000-0-1769817600000-9-0a1b2c3d.parquet"
    )
    run(lake, [NOON], now=NOON + timedelta(minutes=1), settings=SETTINGS, jobs=JOBS, spark=spark)
    return lake


@pytest.fixture
def db(lake: Path) -> duckdb.DuckDBPyConnection:
    return connect(lake, NOON)


def rows(db: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    return db.sql(query).fetchall()


def test_rows_without_dates_are_kept_and_known_from_when_they_were_received(db: duckdb.DuckDBPyConnection) -> None:
    stories = "SELECT story_id, published_at, updated_at, valid_from, valid_until FROM valid_stories ORDER BY story_id"
    assert rows(db, stories) == [
        ("corrected", None, ago(days=1), ago(days=1), None),
        ("known", None, RECEIVED, RECEIVED, None),
        ("less known", None, RECEIVED, RECEIVED, None),
        ("quiet", None, RECEIVED, RECEIVED, None),
    ]
    assert rows(db, "SELECT count(*), count(occurred_at) FROM valid_events") == [(len(DONE) + 1, 1)]


def test_what_counts_days_is_absent_and_what_counts_all_is_there(db: duckdb.DuckDBPyConnection) -> None:
    counters = (
        "SELECT reads_1d, reads_30d, reads_ever, fixed_reads / (1 << 30), hot_reads / (1 << 30) FROM story_counters"
    )
    assert rows(db, f"{counters} WHERE story_id = 'known'") == [(None, None, 4, 4.0, 4.0)]
    features = "SELECT reads_7d, decayed_reads, story_popularity, story_momentum, story_reads FROM story_features"
    [(reads_7d, decayed, popularity, momentum, reads)] = rows(db, f"{features} WHERE story_id = 'less known'")
    assert (reads_7d, decayed, momentum) == (None, 3.0, BY_NAME["story_momentum"].default)
    assert popularity == reads == pytest.approx(math.log1p(3))
    assert rows(db, f"{features} WHERE story_id = 'quiet'") == [(0, 0.0, 0.0, 0.0, 0.0)], "nothing happened, on no day"
    [(reads_7d, decayed, _, momentum, _)] = rows(db, f"{features} WHERE story_id = 'corrected'")
    assert (reads_7d, momentum) == (1, pytest.approx(math.log1p(1))), "what was read since has a date"
    assert decayed == pytest.approx(0.5 ** (1 / 24 / SETTINGS.story_half_life_d))
    author = "SELECT author_id, reads_1d, decayed_reads FROM author_features ORDER BY author_id"
    assert rows(db, author) == [("ann", None, 4.0), ("bob", None, 3.0)]


def test_what_is_read_most_leads_since_nothing_trends(db: duckdb.DuckDBPyConnection) -> None:
    top = "SELECT story_id, heat FROM top_stories WHERE language = '*' ORDER BY rank"
    heat = pytest.approx(0.5 ** (1 / SETTINGS.trending_half_life_h))
    assert rows(db, top) == [("known", 4.0), ("less known", 3.0), ("corrected", heat)]


def test_profiles_hold_what_was_read_hidden_and_shown(db: duckdb.DuckDBPyConnection) -> None:
    profiles = "SELECT list_sort(read), hidden, hidden_at, seen FROM user_profiles WHERE user_id = ?"
    read = [{"story_id": "known", "at": None}, {"story_id": "less known", "at": None}]
    assert db.execute(profiles, ["u0"]).fetchall() == [(read, [], [], [])]
    seen = [{"story_id": "less known", "times": 2}]
    assert db.execute(profiles, ["u3"]).fetchall() == [(read[:1], ["corrected"], [RECEIVED], seen)]
    assert db.execute(profiles, ["u2"]).fetchall() == [(read[:1], [], [], [])], "what was taken back is not hidden"


def test_likeness_and_affinity_need_no_dates(db: duckdb.DuckDBPyConnection) -> None:
    pairs = rows(db, "SELECT story_id, similar_story_id FROM similar_stories ORDER BY 1")
    assert pairs == [("known", "less known"), ("less known", "known")]
    engagement = "SELECT engagement FROM user_author_affinity WHERE user_id = 'u0' AND author_id = 'bob'"
    assert rows(db, engagement) == [(2.0,)], "two reads, neither decayed"
    assert rows(db, "SELECT count(*) FROM als_vectors WHERE entity = 'story'") == [(3,)]


def test_a_feed_of_it_begins_with_what_is_read_most(
    lake: Path, redis_server: Server, redis_client: redis.Redis, tmp_path: Path
) -> None:
    settings = Settings(var=tmp_path / "var", lake=lake, redis_url=redis_server.url)
    publish(lake, NOON, redis_client, Keys(settings.redis_prefix), now=NOON + timedelta(hours=1), kept=3)
    with serving(create_app(settings, OFTEN, clock=lambda: NOON + timedelta(hours=1))) as http:
        page = http.get("/v1/users/u-new/feed").json()
        told = http.get("/v1/users/u-new/feed/explain", params={"story_id": "known"}).json()["story"]
    assert [(item["story_id"], item["published_at"]) for item in page["items"]][:2] == [
        ("known", None),
        ("less known", None),
    ]
    assert page["degraded"] == []
    for absent in ("recency", "read_gap_h", "story_momentum"):
        assert told["features"].get(absent, BY_NAME[absent].default) == BY_NAME[absent].default
    assert told["features"]["story_popularity"] == pytest.approx(math.log1p(4))


def test_a_snapshot_of_it_says_what_has_no_date(lake: Path, redis_client: redis.Redis) -> None:
    manifest = publish(lake, NOON, redis_client, Keys(), now=NOON + timedelta(hours=1), kept=3)
    stories = read_tables(redis_client, Keys(), manifest)["stories"].to_pylist()
    assert [row["story_id"] for row in stories] == ["corrected", "known", "less known", "quiet"], "by id"
    assert {row["published_at"] for row in stories} == {UNDATED}
    piece, field = profile_place(manifest, hash64("u0"))
    profile = PROFILE.decode(read_bucket(redis_client, Keys(), piece)[field])
    assert set(profile["read"].tolist()) == {hash64("known"), hash64("less known")}
    assert profile["read_at"].tolist() == [UNDATED, UNDATED]


def test_training_and_judging_say_that_they_need_dates(lake: Path, tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match=r"The stories of the lake at .* have no dates: no model can be trained on it yet"
    ):
        make_examples(lake, NOON, now=NOON, settings=SETTINGS)
    with pytest.raises(BadInput, match="have no dates: rankings cannot be evaluated on it yet"):
        evaluate(lake, now=NOON, work=tmp_path)


def test_constants_of_time_keep_their_defaults(lake: Path, spark: SparkSession) -> None:
    given = {"now": NOON, "settings": SETTINGS, "budget_s": 0.0, "spark": spark}
    tuned = tune(lake, NOON, time.monotonic, **given)  # type: ignore[arg-type]
    assert "half-lives keep their defaults" in tuned.notes[0]
    (lake / "tuned.json").unlink()
