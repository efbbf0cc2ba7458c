"""Every way in which a raw row can be bad has a reason; what is merely repeated is dropped."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from batch.io import read_raw
from batch.jobs.validated import once_story_is_known, valid_edges, valid_promotions, valid_stories, valid_users
from batch.point_in_time import RunContext, in_force, visible
from batch.run import run
from batch.settings import BatchSettings
from batch.validation import judged
from features.datasets import dataset
from features.errors import BadInput
from features.lake_layout import partition_name
from tests.lakes import NOON, Row, ago, event, story, write_lake

NAN, INF = float("nan"), float("inf")
CONTEXT = RunContext((NOON,), NOON + timedelta(minutes=1), BatchSettings())


def _reasons(
    spark: SparkSession, lake: Path, name: str, rows: list[Row], context: RunContext = CONTEXT
) -> dict[str, list[str | None]]:
    """source (events) or title (stories) of each known row → its reasons; the test's own label travels there."""
    label = "source" if name == "events" else "title"
    write_lake(lake, **{name: rows})
    found = judged(read_raw(spark, lake, dataset(name)), dataset(name), context).select(label, "reason").collect()
    reasons: dict[str, list[str | None]] = {}
    for row in sorted(found, key=str):
        reasons.setdefault(row[label], []).append(row["reason"])
    return reasons


def test_each_bad_event_is_quarantined_with_its_reason(spark: SparkSession, tmp_path: Path) -> None:
    good = event("u", "read", "s", ago(hours=1))
    wrong: dict[str, Row] = {
        "malformed_user_id": {"user_id": None},
        "malformed_story_id": {"story_id": ""},
        "malformed_event_id": {"event_id": "x" * 129},  # one byte over the limit
        "unknown_type": {"type": "stare"},
        "missing_occurred_at": {"occurred_at": None},
        "in_the_future": {"occurred_at": NOON + timedelta(minutes=7), "received_at": NOON},  # now + 5 min of skew < it
        "occurred_after_received": {"received_at": ago(hours=2)},
        "bad_dwell_s": {"dwell_s": NAN},
        "bad_claps": {"claps": -1},
        "bad_strength": {"strength": INF},
        "bad_position": {"position": -1},
        "bad_propensity": {"propensity": INF},
    }
    rows = [{**good, "event_id": reason, **changed, "source": reason} for reason, changed in wrong.items()]
    rows += [
        {**good, "event_id": "fine", "source": "fine"},
        {**good, "event_id": "line\nbreak", "source": "control character"},
        {**good, "event_id": ".", "source": "no path can name it"},
        {**good, "event_id": "up", "user_id": "..", "source": "nor that"},
        {**good, "event_id": "endless", "dwell_s": INF, "source": "infinite"},
        {**good, "event_id": "type gone", "type": None, "source": "no type"},
    ]
    assert _reasons(spark, tmp_path, "events", rows) == {
        **{reason: [reason] for reason in wrong},
        "fine": [None],
        "control character": ["malformed_event_id"],
        "no path can name it": ["malformed_event_id"],
        "nor that": ["malformed_user_id"],
        "infinite": ["bad_dwell_s"],
        "no type": ["unknown_type"],
    }


def test_equal_ids_with_equal_content_are_one_and_with_different_content_none(
    spark: SparkSession, tmp_path: Path
) -> None:
    read, clap = event("u", "read", "s", ago(hours=2)), event("u", "clap", "s", ago(hours=2))
    rows = [
        {**read, "event_id": "twice", "source": "twice", "received_at": ago(hours=2)},
        {**read, "event_id": "twice", "source": "twice", "received_at": ago(hours=1)},  # delivered again: says the same
        {**read, "event_id": "clash", "source": "clash", "received_at": ago(hours=2)},
        {**clap, "event_id": "clash", "source": "clash", "received_at": ago(hours=2)},
        {**read, "event_id": "theirs", "source": "theirs", "received_at": ago(hours=2)},
        {**clap, "user_id": "v", "event_id": "theirs", "source": "theirs", "received_at": ago(hours=2)},
    ]
    assert _reasons(spark, tmp_path, "events", rows) == {
        "twice": ["exact_duplicate", None],
        "clash": ["conflicting_duplicate", "conflicting_duplicate"],
        "theirs": [None, None],  # two users chose the same id: nobody can take another's event out of the count
    }


def test_a_conflict_counts_from_when_it_is_known(spark: SparkSession, tmp_path: Path) -> None:
    rows = [
        {**event("u", "read", "s", ago(days=3)), "event_id": "e", "source": "first"},
        {**event("u", "clap", "s", ago(days=1)), "event_id": "e", "source": "second"},
    ]
    both = RunContext((ago(days=2), NOON), NOON, BatchSettings())
    before = RunContext((ago(days=2),), NOON, BatchSettings())
    assert _reasons(spark, tmp_path, "events", rows) == {
        "first": ["conflicting_duplicate"],
        "second": ["conflicting_duplicate"],
    }
    assert _reasons(spark, tmp_path, "events", rows, before) == {"first": [None]}  # the second is not known yet
    assert _reasons(spark, tmp_path, "events", rows, both) == {"first": [None], "second": ["conflicting_duplicate"]}
    until = judged(read_raw(spark, tmp_path, dataset("events")), dataset("events"), both).where("source = 'first'")
    assert [row[0] for row in until.selectExpr("unix_micros(valid_until)").collect()] == [
        int(ago(days=1).timestamp() * 1e6)
    ]


def test_without_event_ids_exact_repeats_stay_and_get_lasting_ids(spark: SparkSession, tmp_path: Path) -> None:
    rows = [event("u", "read", "s", ago(hours=1))] * 3 + [event("v", "read", "s", ago(hours=1))]
    write_lake(tmp_path, events=rows)
    ids = [
        sorted(
            row["event_id"]
            for row in judged(read_raw(spark, tmp_path, dataset("events")), dataset("events"), CONTEXT)
            .where("reason IS NULL")
            .collect()
        )
        for _ in range(2)
    ]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 4
    assert sorted(name.rsplit("-", 1)[1] for name in ids[0]) == ["1", "1", "2", "3"]  # ordinals among equals


def test_story_versions_conflict_only_at_the_same_instant(spark: SparkSession, tmp_path: Path) -> None:
    rows = [
        story("s", updated_at=ago(days=3), title="old", language="en"),
        story("s", updated_at=ago(days=2), title="new", language="en"),
        story("t", updated_at=ago(days=2), title="said one", language="en"),
        story("t", updated_at=ago(days=2), title="said other", language="en"),
        story("", title="no id", language="en"),
        story("f", NOON + timedelta(days=1), title="tomorrow", language="en"),
        story("g", NOON + timedelta(days=1), updated_at=ago(days=1), title="scheduled", language="en"),
    ]
    assert _reasons(spark, tmp_path, "stories", rows) == {
        "old": [None],
        "new": [None],
        "said one": ["conflicting_duplicate"],
        "said other": ["conflicting_duplicate"],
        "no id": ["malformed_story_id"],
        "tomorrow": ["in_the_future"],
        "scheduled": [None],
    }


def test_language_tags_become_languages_and_malformed_ones_are_bad(spark: SparkSession, tmp_path: Path) -> None:
    tags = {"pt_BR": "pt", "PT": "pt", "zh-Hant-TW": "zh-Hant", "iw": "he", "und": None, "mul": None, "": None}
    malformed = ["EN_us!!", "a" * 200]
    users = {("EN", "en-GB", "de"): ["de", "en"], ("zxx", None): [], ("en", "EN_us!!"): None}
    born = ago(days=9)
    lake = write_lake(
        tmp_path,
        stories=[story(f"s-{tag[:9]}", title=tag, language=tag) for tag in (*tags, *malformed)],
        users=[{"user_id": f"u{n}", "created_at": born, "languages": list(read)} for n, read in enumerate(users)],
    )
    stories = valid_stories(read_raw(spark, lake, dataset("stories")), context=CONTEXT).collect()
    found = {row["title"]: (row["language"], row["reason"]) for row in stories}
    bad = {tag: (tag, "malformed_language") for tag in malformed}  # goes to quarantine as it came
    assert found == {tag: (language, None) for tag, language in tags.items()} | bad
    accounts = valid_users(read_raw(spark, lake, dataset("users")), context=CONTEXT).orderBy("user_id").collect()
    assert [row["reason"] for row in accounts] == [None, None, "malformed_language"]
    assert [row["languages"] for row in accounts[:2]] == [read for read in users.values() if read is not None]


def test_events_about_unknown_stories_wait_for_the_story(spark: SparkSession, tmp_path: Path) -> None:
    lake = write_lake(
        tmp_path,
        stories=[story("s", ago(days=9)), story("late", ago(days=9), updated_at=ago(days=1))],
        events=[
            event("u", "read", "s", ago(days=2)),
            event("u", "read", "late", ago(days=2)),
            event("u", "read", "never", ago(days=2)),
        ],
    )
    stories = valid_stories(read_raw(spark, lake, dataset("stories")), context=CONTEXT)
    events = once_story_is_known(judged(read_raw(spark, lake, dataset("events")), dataset("events"), CONTEXT), stories)
    found = {
        row[0]: (row[1], row[2]) for row in events.selectExpr("story_id", "reason", "unix_micros(valid_from)").collect()
    }
    micros = {days: int(ago(days=days).timestamp() * 1e6) for days in (1, 2)}
    assert found == {"s": (None, micros[2]), "late": (None, micros[1]), "never": ("unknown_story", micros[2])}


def test_promotions_are_judged_and_scheduled_ones_are_good_until_they_end(spark: SparkSession, tmp_path: Path) -> None:
    good = {"story_id": "s", "starts_at": ago(days=3), "ends_at": ago(days=-3), "priority": 1}
    wrong: dict[str, Row] = {
        "malformed_story_id": {"story_id": ""},
        "empty_interval": {"ends_at": ago(days=3)},
        "missing_priority": {"priority": None},
        "bad_daily_cap_per_user": {"daily_cap_per_user": -1},
    }
    twice = [{**good, "promotion_id": "twice", "story_id": story_id} for story_id in ("s", "t")]  # which one is meant?
    fine = {
        "running": good,
        "scheduled": {**good, "starts_at": ago(days=-1)},
        "ended": {**good, "ends_at": ago(days=1)},
    }
    rows = [{**good, **changed, "promotion_id": name} for name, changed in (wrong | fine).items()]
    write_lake(tmp_path, promotions=[*rows, *twice])
    found = valid_promotions(read_raw(spark, tmp_path, dataset("promotions")), context=CONTEXT)
    reasons = {row["promotion_id"]: row["reason"] for row in found.collect()}
    assert reasons == {name: name for name in wrong} | dict.fromkeys(fine) | {"twice": "conflicting_duplicate"}
    seen = visible(found.where("reason IS NULL"), CONTEXT).select("promotion_id").collect()
    assert sorted(row["promotion_id"] for row in seen) == ["running", "scheduled"]


def test_near_duplicate_titles_share_a_key_and_untitled_stories_do_not(spark: SparkSession, tmp_path: Path) -> None:
    titles = {
        "a": "Ten Ways to Sleep!",
        "b": "to sleep: ten WAYS",
        "c": "Ten ways to wake",
        "d": None,
        "e": "…",
        "f": None,
    }
    lake = write_lake(tmp_path, stories=[story(name, title=title) for name, title in titles.items()])
    rows = valid_stories(read_raw(spark, lake, dataset("stories")), context=CONTEXT).collect()
    keys = {row["story_id"]: row["duplicate_key"] for row in rows}
    assert keys["a"] == keys["b"]
    assert len(set(keys.values())) == 5
    assert all(row["duplicate_key"] == row["story_hash"] for row in rows if row["story_id"] in "def")


def test_too_many_bad_rows_stop_the_run_and_publish_nothing(spark: SparkSession, tmp_path: Path) -> None:
    # 2 of 20 stories are bad: 10 %, more than the 5 % allowed.
    rows = [story(f"s{i}", reading_time_s=60.0) for i in range(18)] + [
        story(f"bad{i}", reading_time_s=NAN) for i in range(2)
    ]
    lake = write_lake(tmp_path, stories=rows, events=[event("u", "read", "s0", ago(hours=1))])
    with pytest.raises(
        BadInput, match=r"stories: 2 of 20 rows are bad \(limit 5%; bad_reading_time_s 2\), for example .*bad\d"
    ):
        run(lake, [NOON], now=NOON, settings=BatchSettings(), jobs=["valid_stories"], spark=spark)
    assert not list((lake / "features").rglob("*.parquet")), "something was published all the same"
    place = lake / "quarantine" / "stories" / partition_name(NOON)
    counts = json.loads((place / "counts.json").read_text())
    assert counts == {
        "dataset": "stories",
        "rows": 20,
        "good": 18,
        "repeated": 0,
        "quarantined": {"bad_reading_time_s": 2},
    }
    assert sorted(pq.read_table(place / "part-00000.parquet")["story_id"].to_pylist()) == ["bad0", "bad1"]


def test_most_events_about_unknown_stories_stop_the_run_but_some_do_not(spark: SparkSession, tmp_path: Path) -> None:
    known, unknown = (
        [event(f"u{i}", "read", "s", ago(hours=1)) for i in range(3)],
        [event(f"u{i}", "read", "x", ago(hours=1)) for i in range(4)],
    )
    lake = write_lake(tmp_path, stories=[story("s")], events=known + unknown)
    jobs = ["valid_stories", "valid_events"]
    with pytest.raises(BadInput, match=r"events: 4 of 7 rows are bad .*unknown_story 4"):
        run(lake, [NOON], now=NOON, settings=BatchSettings(), jobs=jobs, spark=spark)
    known[0]["strength"] = 4.5
    write_lake(lake, events=known + unknown[:2])  # 40 %: streams race tables
    report = run(lake, [NOON], now=NOON, settings=BatchSettings(), jobs=jobs, spark=spark)
    assert report.jobs[1].validation is not None
    assert report.jobs[1].validation.quarantined == {"unknown_story": 2}
    assert report.jobs[1].rows == {NOON: 3}
    valid = pq.read_table(lake / "features" / "valid_events" / partition_name(NOON), partitioning=None)
    assert sorted(valid["strength"].to_pylist(), key=str) == [4.5, None, None], "a rating is carried along"


def test_of_two_changes_of_an_edge_at_one_instant_the_one_that_shows_less_counts(
    spark: SparkSession, tmp_path: Path
) -> None:
    toggled = [
        {"event_id": f"{first}{kind}{op}", "user_id": "u", "kind": kind, "target_type": "author", "target_id": first}
        | {"op": op, "occurred_at": ago(hours=1)}
        for first in ("add", "remove")  # whichever has the smaller event_id
        for kind in ("follow", "mute", "block")
        for op in ("add", "remove")
    ]
    toggled = [row | {"event_id": f"{row['op'] != row['target_id']}{row['event_id']}"} for row in toggled]
    lake = write_lake(tmp_path, edges=toggled)
    edges = valid_edges(read_raw(spark, lake, dataset("edges")), context=CONTEXT)
    held = {(row["kind"], row["target_id"]) for row in in_force(edges, CONTEXT).collect()}
    assert held == {(kind, first) for kind in ("mute", "block") for first in ("add", "remove")}
