"""One small lake, every feature of it worked out by hand."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pyspark.sql import SparkSession

from batch.run import RunReport, run
from batch.settings import BatchSettings
from features.datasets import dataset
from features.duckdb_views import connect
from features.lake_layout import partition_name
from features.raw_datasets import CLOCK_SKEW_S
from tests.lakes import NOON, Row, ago, event, events, story, write_lake

SETTINGS = BatchSettings(
    als_rank=2,
    als_iterations=2,
    story_half_life_d=3,
    trending_half_life_h=12,
    affinity_half_life_d=30,
    global_strength=10,
    entity_strength=10,
    story_strength=10,
    affinity_strength=3,
    similarity_strength=2,
)
TRENDS = ["valid_stories", "valid_edges", "valid_events", "story_counters", "author_features", "story_features"]
STORIES: list[Row] = [
    story("a", author_id="ann", publication_id="pub", topics=["x", "y"], language="en", visibility="public"),
    story("b", author_id="ann", topics=["x"], language="de"),
    story("quiet", author_id="bob", topics=[], language="en"),  # nothing was ever done with it
    story("withdrawn", author_id="bob", deleted_at=ago(days=1), language="en"),
    story("unlisted", author_id="bob", visibility="unlisted", language="en"),  # read, but does not trend
    story("soon", NOON + timedelta(hours=1), author_id="bob", updated_at=ago(days=1)),  # known already, published later
]
EVENTS: list[Row] = [
    # a: three days ago, so decayed by half, four impressions and two opens; an hour before NOON one read
    *events("impression", "a", ("u1", "u2", "u3", "u4"), ago(days=3)),
    *events("open", "a", ("u1", "u2"), ago(days=3)),
    event("u1", "read", "a", NOON),
    event("u2", "clap", "a", NOON, claps=7),
    # b: two readers in common with a
    *events("read", "b", ("u1", "u2"), NOON),
    event("u3", "hide", "b", NOON),
    event("u4", "report", "withdrawn", ago(days=2)),
    *events("read", "unlisted", ("u5", "u6"), NOON),
]
USERS: list[Row] = [
    {
        "user_id": "u1",
        "created_at": ago(days=9),
        "updated_at": ago(days=9),
        "languages": ["en", "de"],
        "is_member": False,
    },
    {"user_id": "u1", "created_at": ago(days=9), "updated_at": ago(days=1), "languages": ["de"], "is_member": True},
]


def _edge(op: str, days: float, target: str, kind: str = "follow", target_type: str = "author") -> dict[str, Any]:
    row = {"event_id": f"{op}{days}{target}", "user_id": "u1", "kind": kind, "target_type": target_type}
    return {**row, "target_id": target, "op": op, "occurred_at": ago(days=days)}


EDGES: list[Row] = [
    _edge("add", 5, "ann"),
    _edge("add", 5, "bob"),
    _edge("remove", 4, "bob"),  # undone
    _edge("add", 3, "nobody"),  # wrote nothing, is followed all the same
    _edge("add", 5, "y", "mute", "topic"),
]


@pytest.fixture(scope="module")
def report(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunReport, Path]:
    lake = write_lake(tmp_path_factory.mktemp("lake"), stories=STORIES, events=EVENTS, users=USERS, edges=EDGES)
    (lake / "raw" / "_archived.json").write_text('{"stream:0": "1700000000000-3", "stream:1": "1900000000000-0"}')
    return run(lake, [NOON], now=NOON + timedelta(days=1), settings=SETTINGS, spark=spark), lake


@pytest.fixture
def db(report: tuple[RunReport, Path]) -> duckdb.DuckDBPyConnection:
    return connect(report[1], NOON)


def _rows(db: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    return db.sql(query).fetchall()


def test_windows_count_and_decay_halves(db: duckdb.DuckDBPyConnection) -> None:
    columns = "impressions_1d, impressions_7d, opens_7d, reads_1d, claps_1d, decayed_impressions, decayed_opens, decayed_claps"
    # Three days are one half-life: 4 impressions count 2, 2 opens count 1. Claps count as often as given.
    assert _rows(db, f"SELECT {columns} FROM story_features WHERE story_id = 'a'") == [(0, 4, 2, 1, 7, 2.0, 1.0, 7.0)]


def test_only_published_stories_that_are_not_withdrawn_have_features(db: duckdb.DuckDBPyConnection) -> None:
    assert [row[0] for row in _rows(db, "SELECT story_id FROM story_features ORDER BY 1")] == [
        "a",
        "b",
        "quiet",
        "unlisted",
    ]


def test_rates_are_smoothed_story_to_author_to_all(db: duckdb.DuckDBPyConnection) -> None:
    # Decayed: a has 2 impressions, 1 open, 1 read; b no impression, 2 reads; unlisted 2 reads. All: 2, 1, 5.
    all_open = (1 + 10 * 0.1) / (2 + 10)
    ann_open = (1 + 10 * all_open) / (2 + 10)
    a_open = (1 + 10 * ann_open) / (2 + 10)
    # Reads beyond the opens count as their own opens: trials are max(opens, reads) of the sums.
    all_read = (5 + 10 * 0.3) / (5 + 10)
    ann_read = (3 + 10 * all_read) / (3 + 10)
    a_read = (1 + 10 * ann_read) / (1 + 10)
    found = _rows(db, "SELECT story_open_rate, story_read_rate FROM story_features WHERE story_id = 'a'")
    assert found[0] == pytest.approx((a_open, a_read), rel=1e-6)
    found = _rows(db, "SELECT author_open_rate, author_read_rate FROM author_features WHERE author_id = 'ann'")
    assert found[0] == pytest.approx((ann_open, ann_read), rel=1e-6)
    found = _rows(db, "SELECT publication_id, publication_open_rate FROM publication_features")
    assert found[0] == ("pub", pytest.approx((1 + 10 * all_open) / 12, rel=1e-6))


def test_rates_of_a_language_are_over_all_its_published_stories(db: duckdb.DuckDBPyConnection) -> None:
    # Decayed, as above. en: a, unlisted, and two without counted events: 2 impressions, 1 open, 3 reads; de: b, 2 reads.
    # `soon` has no language.
    all_open, all_read = (1 + 10 * 0.1) / (2 + 10), (5 + 10 * 0.3) / (5 + 10)
    found = _rows(db, "SELECT language, language_open_rate, language_read_rate FROM language_features ORDER BY 1")
    assert [language for language, *_ in found] == ["de", "en"]
    assert found[0][1:] == pytest.approx((all_open, (2 + 10 * all_read) / (2 + 10)), rel=1e-6)
    assert found[1][1:] == pytest.approx(((1 + 10 * all_open) / (2 + 10), (3 + 10 * all_read) / (3 + 10)), rel=1e-6)


def test_popularity_momentum_and_positive_feedback_are_logarithms(db: duckdb.DuckDBPyConnection) -> None:
    found = _rows(db, "SELECT story_popularity, story_momentum, story_claps FROM story_features WHERE story_id = 'a'")
    assert found[0] == pytest.approx((math.log(2), math.log(2), math.log(8)), rel=1e-6)


def test_a_trend_fades_within_hours_and_reads_so_far_never(spark: SparkSession, tmp_path: Path) -> None:
    reads = [*events("read", "a", ("u1", "u2"), ago(hours=12)), event("u3", "read", "a", ago(days=60))]
    lake = write_lake(tmp_path, stories=STORIES, events=reads)
    run(lake, [NOON], now=NOON + timedelta(days=1), settings=SETTINGS, spark=spark, jobs=TRENDS)
    found = _rows(connect(lake), "SELECT story_trend, story_reads FROM story_features WHERE story_id = 'a'")
    assert found[0] == pytest.approx((math.log(2), math.log(4)), rel=1e-6)  # two reads, halved once; three reads
    quiet = _rows(connect(lake), "SELECT story_trend, story_reads FROM story_features WHERE story_id = 'quiet'")
    assert quiet == [(0.0, 0.0)]


def test_a_story_counts_for_each_of_its_topics(db: duckdb.DuckDBPyConnection) -> None:
    assert _rows(db, "SELECT topic_id, reads_1d FROM topic_features ORDER BY 1") == [("x", 3), ("y", 1)]


def test_followers_are_those_of_edges_in_force(db: duckdb.DuckDBPyConnection) -> None:
    found = _rows(db, "SELECT author_id, followers FROM author_features ORDER BY 1")
    assert found == [("ann", 1), ("bob", 0), ("nobody", 1)]


def test_affinity_compares_engagement_with_what_impressions_yield(db: duckdb.DuckDBPyConnection) -> None:
    decay = 0.5 ** (3 / 30)  # of what happened three days ago
    early = 0.5 ** (2 / 30)
    # open .3, read 1, clap 1, hide -2, report -4: opens 2, reads 5, claps 1, hides 1, reports 1 (two days ago)
    engagement = 0.3 * 2 * decay + 5 + 1 - 2 - 4 * early
    per_impression = engagement / (4 * decay)
    positive, expected = 0.3 * decay + 1 + 1, decay * per_impression  # u1 and ann: opened and read a, read b
    wanted = (positive - expected) / (positive + expected + 3)
    evidence = "affinity, weight, engagement, impressions"
    found = _rows(db, f"SELECT {evidence} FROM user_author_affinity WHERE user_id = 'u1' AND author_id = 'ann'")
    assert found[0] == pytest.approx((wanted, positive, positive, decay), rel=1e-6)


def test_hiding_and_reporting_make_an_affinity_negative(db: duckdb.DuckDBPyConnection) -> None:
    found = _rows(
        db, "SELECT user_id, engagement < 0, weight > 0 FROM user_author_affinity WHERE affinity < -0.3 ORDER BY 1"
    )
    assert found == [("u3", True, True), ("u4", True, True)]  # u3 hid b, u4 reported the withdrawn one


def test_topic_affinities_are_those_of_each_topic(db: duckdb.DuckDBPyConnection) -> None:
    both = dict(_rows(db, "SELECT topic_id, affinity FROM user_topic_affinity WHERE user_id = 'u1'"))
    assert both["x"] > both["y"] > 0  # x is on a and on b, y on a only


def test_similar_stories_are_shrunk_cosines(db: duckdb.DuckDBPyConnection) -> None:
    # Liked: a by u1 u2, b by u1 u2: cosine 2 / sqrt(2 * 2) = 1, shrunk by 2 / (2 + 2).
    found = _rows(db, "SELECT story_id, rank, similar_story_id, similarity FROM similar_stories ORDER BY 1, 2")
    assert found == [("a", 0, "b", 0.5), ("b", 0, "a", 0.5)]


def test_top_stories_are_the_hottest_public_ones(db: duckdb.DuckDBPyConnection) -> None:
    found = _rows(db, "SELECT language, rank, story_id, heat FROM top_stories ORDER BY 1, 2")
    assert found == [("*", 0, "b", 2.0), ("*", 1, "a", 1.0), ("de", 0, "b", 2.0), ("en", 0, "a", 1.0)]


def test_profiles_know_the_latest_account_and_the_edges_in_force(db: duckdb.DuckDBPyConnection) -> None:
    columns = "languages, is_member, follow_authors, mute_topics, block_authors, [r.story_id FOR r IN read]"
    found = _rows(db, f"SELECT {columns} FROM user_profiles WHERE user_id = 'u1'")
    assert found == [(["de"], True, ["ann", "nobody"], ["y"], [], ["a", "b"])]  # both read at NOON: by id


def test_profiles_tell_what_was_seen_hidden_and_reported(db: duckdb.DuckDBPyConnection) -> None:
    found = _rows(
        db,
        "SELECT user_id, created_at, hidden, reported, seen FROM user_profiles WHERE user_id IN ('u3', 'u4') ORDER BY 1",
    )
    seen = [{"story_id": "a", "times": 1}]  # shown, not opened
    assert found == [("u3", None, ["b"], [], seen), ("u4", None, [], ["withdrawn"], seen)]


def test_vectors_are_of_users_and_stories_with_enough_events(db: duckdb.DuckDBPyConnection) -> None:
    found = _rows(db, "SELECT entity, id, len(vector) FROM als_vectors ORDER BY 1, 2")
    # u1 and u2 liked two stories; a and b were liked by two users; `unlisted` by two who liked nothing else.
    assert found == [("story", "a", 2), ("story", "b", 2), ("user", "u1", 2), ("user", "u2", 2)]


def test_the_run_is_noted_with_positions_no_later_than_as_of(report: tuple[RunReport, Path]) -> None:
    done, lake = report
    note = json.loads((lake / "features" / "_runs" / f"{partition_name(NOON)}.json").read_text())
    assert note["as_of"] == "2026-01-31T12:00:00+00:00"
    assert note["jobs"] == {job.name: job.rows[NOON] for job in done.jobs}
    before_noon_ms = (int(NOON.timestamp()) - CLOCK_SKEW_S) * 1000
    assert note["positions"] == {"stream:0": "1700000000000-3", "stream:1": f"{before_noon_ms}-18446744073709551615"}


def test_every_written_file_has_exactly_the_declared_columns(report: tuple[RunReport, Path]) -> None:
    for job in report[0].jobs:
        folder = report[1] / "features" / job.name / partition_name(NOON)
        files = ", ".join(f"'{path}'" for path in folder.glob("*.parquet"))
        found = duckdb.sql(f"SELECT * FROM read_parquet([{files}], hive_partitioning = false)").to_arrow_table().schema
        declared = {c.name: c.type for c in dataset(job.name).columns if c.name != "as_of"}
        assert found.names == list(declared)
        plain = [name for name, kind in declared.items() if "list" not in str(kind) and "timestamp" not in str(kind)]
        assert {name: found.field(name).type for name in plain} == {name: declared[name] for name in plain}, job.name


def test_a_lake_of_two_small_tables_is_enough(spark: SparkSession, tmp_path: Path) -> None:
    """No authors, users, edges, impressions or opens, and too few events to learn from."""
    lake = write_lake(tmp_path, stories=[story("s")], events=[event("u", "read", "s", ago(hours=12))])
    done = run(lake, [NOON], now=NOON, settings=SETTINGS, spark=spark)
    rows = {job.name: job.rows[NOON] for job in done.jobs}
    assert {name for name, count in rows.items() if count} == {
        "valid_stories",
        "valid_events",
        "story_counters",
        "story_features",
        "user_profiles",
        "top_stories",
    }
    db = connect(lake, NOON)
    # The default 0.1, as nothing was shown; the read counts as its own open: all (1' + 3) / (1' + 10), and again over the story.
    once = 0.5 ** (0.5 / 3)
    overall = (once + 10 * 0.3) / (once + 10)
    found = _rows(db, "SELECT story_open_rate, story_read_rate FROM story_features")
    assert found[0] == pytest.approx((0.1, (once + 10 * overall) / (once + 10)), rel=1e-6)
    assert _rows(db, "SELECT heat FROM top_stories") == [(0.5,)]  # one half-life old


def test_a_lake_without_reads_trends_by_opens(spark: SparkSession, tmp_path: Path) -> None:
    lake = write_lake(tmp_path, stories=[story("s")], events=[event("u", "open", "s", ago(hours=12))])
    jobs = ["valid_stories", "valid_events", "story_counters", "top_stories"]
    run(lake, [NOON], now=NOON, settings=SETTINGS, jobs=jobs, spark=spark)
    assert _rows(connect(lake, NOON), "SELECT language, story_id, heat FROM top_stories") == [("*", "s", 0.5)]
