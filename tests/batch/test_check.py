"""`rex check` finds in seconds what a batch would refuse, and says of each reason how many rows and which first."""

from __future__ import annotations

import functools
import io
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession
from rich.console import Console

from batch.io import read_raw
from batch.jobs.validated import once_story_is_known
from batch.point_in_time import RunContext
from batch.settings import BatchSettings
from batch.validation import judged
from features.datasets import dataset
from features.duckdb_views import connect
from features.errors import BadInput
from features.null_spellings import NULL_SPELLINGS
from features.times import micros
from lake.check import LakeReport, check_lake
from tests.lakes import NOON, Row, ago, event, story, write_lake, write_rows

NOW = NOON + timedelta(minutes=1)
NAN, INF = float("nan"), float("inf")


def _year(year: int) -> datetime:
    return datetime(year, 5, 1, tzinfo=UTC)


def _stories() -> list[Row]:
    wrong: list[Row] = [{"story_id": spelling} for spelling in NULL_SPELLINGS]
    wrong += [
        {"author_id": "\\N"},
        {"publication_id": "NA"},
        {"author_id": ""},
        {"story_id": "x" * 129},
        {"story_id": "a\tb"},
    ]
    wrong += [{"published_at": at} for at in (_year(12), _year(24), _year(9999), None)]
    wrong += [{"updated_at": _year(12)}, {"received_at": _year(24)}, {"language": "EN_us!!"}, {"visibility": "secret"}]
    wrong += [{"reading_time_s": value} for value in (NAN, INF, -1.0)]
    right: list[Row] = [{"story_id": "N"}, {"story_id": "none"}, {"story_id": "ö" * 64}, {"published_at": _year(1851)}]
    right += [{"published_at": ago(days=9), "language": "pt_BR"}, {"title": "T" * 1_000_000}]
    rows = [story(f"s{number}", title=f"{number}") | row for number, row in enumerate([*wrong, *right])]
    twice = [
        story("twice", title="twice"),
        story("twice", title="twice", received_at=ago(days=1)),
        story("clash", title="1"),
    ]
    return [*rows, *twice, story("clash", title="2")]


def _events() -> list[Row]:
    good = event("u", "read", "twice", ago(days=2))
    wrong: list[Row] = [{"user_id": "NULL"}, {"user_id": None}, {"type": "stare"}, {"claps": -1}, {"dwell_s": NAN}]
    wrong += [{"occurred_at": at} for at in (_year(12), _year(1970), _year(9999), None)]
    wrong += [
        {"received_at": ago(days=3)},
        {"position": -1},
        {"propensity": 0.0},
        {"strength": INF},
        {"story_id": "clash"},
    ]
    wrong += [{"story_id": "nowhere"}, {"event_id": ".."}]
    right: list[Row] = [{"strength": -4.5}, {"claps": 3}, {"strength": 5.0, "event_id": None}]
    rows = [
        good | {"event_id": f"e{number}", "source": str(number)} | row for number, row in enumerate([*wrong, *right])
    ]
    again: list[Row] = [good | {"event_id": None}] * 2 + [good | {"event_id": "twice"}] * 3
    return [*rows, *again, good | {"event_id": "clash"}, good | {"event_id": "clash", "type": "clap"}]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lake = write_lake(tmp_path_factory.mktemp("lake"), stories=_stories(), events=_events())
    users: list[Row] = [{"user_id": "u", "created_at": at} for at in (ago(days=9), _year(24), None)]
    users += [{"user_id": name, "created_at": ago(days=9), "languages": ["en", None, " "]} for name in ("v", "nan")]
    edge = {
        "user_id": "u",
        "kind": "follow",
        "target_type": "author",
        "target_id": "a",
        "op": "add",
        "occurred_at": ago(1),
    }
    edges = [edge, edge | {"target_id": "NA"}, edge | {"kind": "love"}, edge | {"occurred_at": _year(1989)}]
    plan = {"promotion_id": "p", "story_id": "twice", "starts_at": ago(2), "ends_at": ago(1), "priority": 1}
    plans = [
        plan,
        plan | {"promotion_id": "q", "starts_at": _year(12)},
        plan | {"promotion_id": "r", "ends_at": _year(9999)},
    ]
    plans += [plan | {"promotion_id": "None"}, plan | {"promotion_id": "t", "ends_at": ago(3)}]
    return write_lake(lake, users=users, edges=edges, promotions=plans)


@pytest.fixture(scope="module")
def report(lake: Path) -> LakeReport:
    return check_lake(lake, NOW)


POOLS: dict[str, dict[str, list[Any]]] = {
    "stories": {
        "story_id": [
            "a",
            "b",
            "c",
            "ö" * 64,
            "ö" * 65,
            "",
            ".",
            "NULL",
            "null",
            "a\x7f",
            "a\x00",
            None,
            "N",
            "\\N",
            "a b",
        ],
        "author_id": [None, "a", "NaN", "..", "\n"],
        "topics": [None, [], ["t", None, " "], ["t"]],
        "language": [None, "en", "", "pt_BR", "english!", "x" * 36],
        "title": ["A", "B"],
        "published_at": [
            ago(1),
            ago(2),
            None,
            _year(12),
            _year(1000),
            _year(999),
            NOON + timedelta(minutes=6, seconds=1),
        ],
        "updated_at": [None, None, ago(1), _year(12)],
        "received_at": [None, ago(1), _year(12)],
        "reading_time_s": [None, 1.0, NAN, INF, -INF, -1.0, 0.0],
        "visibility": [None, "public", "PUBLIC"],
        "deleted_at": [None, None, ago(1), _year(24)],
    },
    "events": {
        "event_id": [None, "e1", "e2", "e3", "", "NA"],
        "user_id": ["u", "v", "u", "v", "None", "undefined", None],
        "story_id": ["a", "b", "c", "d", "a b"],
        "type": ["read", "open", "clap", "Read", None],
        "occurred_at": [
            ago(1),
            ago(2),
            _year(1970),
            _year(1990),
            None,
            NOON + timedelta(minutes=6),
            NOON + timedelta(days=1),
        ],
        "received_at": [None, None, ago(1), ago(1, seconds=301), ago(3), _year(24)],
        "dwell_s": [None, 1.0, NAN, -1.0],
        "claps": [None, 1, 0, -1],
        "position": [None, 0, -1],
        "propensity": [None, 1.0, 0.0, 0.5, NAN, 1.5],
        "strength": [None, 1.0, -1.0, NAN, INF],
    },
    "users": {
        "user_id": ["u", "v", "w", "x" * 128, "x" * 129, "<NA>"],
        "created_at": [ago(1), ago(2), _year(1989), None],
        "updated_at": [None, ago(1), _year(24)],
        "received_at": [None, ago(1), _year(24)],
        "languages": [None, [], ["en", None], ["!"], ["", "de"]],
        "is_member": [None, True],
    },
    "edges": {
        "event_id": [None, "e1", "e2", "", "NA"],
        "user_id": ["u", "v", "n/a"],
        "kind": ["follow", "mute", "love", None],
        "target_type": ["author", "topic", "story"],
        "target_id": ["a", "b", "#N/A", ""],
        "op": ["add", "remove", "ADD"],
        "occurred_at": [ago(1), ago(2), _year(24), None],
        "received_at": [None, ago(1), _year(24)],
    },
    "promotions": {
        "promotion_id": ["p", "q", "r", "s", "NaT", ""],
        "story_id": ["a", "b", ".", "NA"],
        "starts_at": [ago(2), ago(3), _year(12), None],
        "ends_at": [ago(1), _year(9999), ago(2), _year(24), None],
        "priority": [1, 2, None],
        "daily_cap_per_user": [None, 0, -1],
    },
}
"""Values of each column, of which rows are drawn; the first ones are good and come more often."""


def _drawn(name: str, rows: int, rng: np.random.Generator) -> list[Row]:
    pools = POOLS[name]
    rare = 0.3
    return [
        {
            column: pool[int(rng.integers(len(pool)) if rng.random() < rare else rng.integers(2))]
            for column, pool in pools.items()
        }
        for _ in range(rows)
    ]


def _write_undated(lake: Path, rng: np.random.Generator) -> Path:
    """Like the others, without a date, but for what the service has archived since."""
    for name, time in {"stories": "published_at", "events": "occurred_at"}.items():
        rows = _drawn(name, 300, rng)
        write_rows(lake, name, [{**row, time: None} for row in rows[:200]], "undated/part-00000.parquet")
        write_rows(lake, name, rows[200:], "archive-0-stories-1769817600000-0-1769817600000-9-0a1b2c3d.parquet")
    return lake


def _write_wider_types(lake: Path) -> None:
    """Events in a file of wider types than declared, some of whose values do not fit."""
    values, n = [1e300, -1e300, INF, NAN, 2.5], 5
    columns = {
        "event_id": [f"wide-{i}" for i in range(n)],
        "user_id": ["u"] * n,
        "story_id": ["a"] * n,
        "type": ["read"] * n,
        "occurred_at": pa.array([micros(ago(days=1)) * 1000 + 123_456_789] * n, pa.timestamp("ns", "UTC")),
        "strength": pa.array(values, pa.float64()),
        "claps": pa.array([1 << 40, 1, 1, 1, 1], pa.int64()),
    }
    pq.write_table(pa.table(columns), lake / "raw" / "events" / "wider.parquet")


def _judged_in_spark(spark: SparkSession, lake: Path, names: tuple[str, ...], context: RunContext) -> list[DataFrame]:
    verdicts = {name: judged(read_raw(spark, lake, dataset(name)), dataset(name), context) for name in names}
    if "events" in names:
        verdicts["events"] = once_story_is_known(verdicts["events"], verdicts["stories"].where("reason IS NULL"))
    return [
        rows.selectExpr(f"'{lake.name}' AS lake", f"'{name}' AS dataset", "reason") for name, rows in verdicts.items()
    ]


@pytest.mark.parametrize(
    "names",
    [("stories", "events"), pytest.param(("users", "edges", "promotions"), marks=pytest.mark.nightly(part="batch"))],
)
def test_spark_and_duckdb_judge_alike(
    spark: SparkSession, one_partition: None, tmp_path: Path, names: tuple[str, ...]
) -> None:
    rng = np.random.default_rng(12)
    lake = write_lake(tmp_path, **{name: _drawn(name, 400, rng) for name in names})
    lakes = [lake]
    if "events" in names:
        _write_wider_types(lake)
        lakes.append(_write_undated(tmp_path / "undated", rng))
    context = RunContext((NOON + timedelta(minutes=6),), NOW, BatchSettings())  # knows all that is not from the future
    labelled = [rows for one in lakes for rows in _judged_in_spark(spark, one, names, context)]
    found = functools.reduce(DataFrame.unionAll, labelled).groupBy("lake", "dataset", "reason").count().collect()
    in_spark = {(row["lake"], row["dataset"], row["reason"]): row["count"] for row in found}
    in_duckdb: dict[tuple[str, str, str | None], int] = {}
    for one in lakes:
        for name, report in check_lake(one, NOW).datasets.items():
            assert report.undated == (one.name == "undated")
            refused = {reason: refused.rows for reason, refused in report.refused.items()}
            in_duckdb |= {(one.name, name, reason): rows for reason, rows in refused.items()}
            if good := report.rows - sum(refused.values()):
                in_duckdb[one.name, name, None] = good
    assert in_duckdb == in_spark
    if "events" in names:
        in_nanos = read_raw(spark, lake, dataset("events")).where("event_id LIKE 'wide-%'").collect()
        with connect(lake) as db:
            same = db.sql("SELECT event_id, epoch_us(occurred_at) FROM events WHERE event_id LIKE 'wide-%'").fetchall()
        assert dict(same) == {row["event_id"]: micros(row["occurred_at"].replace(tzinfo=UTC)) for row in in_nanos}
        assert {us % 1_000_000 for _, us in same} == {123_456}, "cut off, not rounded"
        assert in_duckdb["undated", "events", "missing_occurred_at"], "one without a time of receipt"
    reasons = {reason for _, _, reason in in_duckdb}
    never = {check.name for name in names for check in dataset(name).checks} - reasons
    assert never <= {"malformed_publication_id", "null_as_publication_id"}, "a pool lacks values"
    assert {"exact_duplicate", "conflicting_duplicate"} <= reasons


def test_what_stands_for_null_and_dates_that_cannot_be_are_refused(report: LakeReport) -> None:
    stories = {reason: refused.rows for reason, refused in report.datasets["stories"].refused.items()}
    assert stories["null_as_story_id"] == len(NULL_SPELLINGS)
    assert (stories["null_as_author_id"], stories["null_as_publication_id"]) == (1, 1)
    assert (stories["implausible_published_at"], stories["in_the_future"]) == (2, 1)
    assert (stories["exact_duplicate"], stories["conflicting_duplicate"]) == (1, 2)
    events = {reason: refused.rows for reason, refused in report.datasets["events"].refused.items()}
    assert (events["implausible_occurred_at"], events["in_the_future"], events["null_as_user_id"]) == (2, 1, 1)
    assert (events["unknown_story"], events["exact_duplicate"], events["conflicting_duplicate"]) == (2, 2, 2)
    assert report.datasets["users"].refused["null_as_user_id"].rows == 1


def test_it_says_what_is_there_and_shows_the_first_of_each_reason(report: LakeReport) -> None:
    events = report.datasets["events"]
    assert (events.files, events.rows, events.users) == (1, len(_events()), 1)
    assert (events.first, events.last) == (ago(days=2), ago(days=2))
    assert events.refused["unknown_type"].examples == (
        "part-00000.parquet, row 3: `event_id=e2, user_id=u, type=stare`",
    )
    assert report.datasets["stories"].first == _year(1851)
    assert [problem.split(";")[0] for problem in report.problems()] == [
        f"Dataset {name}: {bad:,} of {report.datasets[name].rows:,} rows are refused, more than {limit}"
        for name, bad, limit in (
            ("stories", 32, "5%"),
            ("users", 3, "5%"),
            ("edges", 3, "5%"),
            ("events", 16, "5%"),
            ("promotions", 3, "5%"),
        )
    ]
    assert any(line.startswith("events: 1 of ") and line.endswith("null_as_user_id") for line in report.lines())
    console = Console(width=80, file=io.StringIO())
    console.print(report.table())
    assert "…" not in console.file.getvalue(), "80 columns are enough"  # type: ignore[attr-defined]


def test_a_column_called_as_the_number_of_a_row_is_no_number(tmp_path: Path) -> None:
    lake = write_lake(tmp_path, events=[event("u", "read", "s", ago(1))])
    (lake / "raw" / "stories").mkdir()
    columns = {"story_id": ["NA", "NA"], "published_at": [ago(1), ago(1)], "file_row_number": [41, 17]}
    pq.write_table(pa.table(columns), lake / "raw" / "stories" / "a")
    examples = check_lake(lake, NOW).datasets["stories"].refused["null_as_story_id"].examples
    assert [example.split(":")[0] for example in examples] == ["a", "a"]


def test_a_folder_that_is_no_dataset_is_named(tmp_path: Path) -> None:
    write_lake(tmp_path, stories=[story("s")], events=[event("u", "read", "s", ago(1))])
    (tmp_path / "raw" / "event").mkdir()
    assert check_lake(tmp_path, NOW).lines()[0].startswith("raw/event is no dataset and is not read; there are stories")


@pytest.mark.parametrize(("divisor", "where"), [(1000, "January 1970"), (0.001, "the year 2200 or later")])
def test_a_column_in_a_wrong_unit_is_told_its_unit(tmp_path: Path, divisor: float, where: str) -> None:
    """Seconds taken for milliseconds, and the other way round. A text may be of 1970, but not all of a site in one month."""
    us = [int(ago(days=day).timestamp() * 1_000_000 / divisor) for day in range(3)]
    published = pa.array([*us, int(NOON.timestamp() * 1e6)], pa.timestamp("us", tz="UTC"))
    folder = write_lake(tmp_path, events=[event("u", "read", "s0", ago(1))]) / "raw" / "stories"
    folder.mkdir()
    pq.write_table(pa.table({"story_id": [f"s{n}" for n in range(4)], "published_at": published}), folder / "a")
    report = check_lake(tmp_path, NOW)
    (hint, *_) = report.hints
    assert hint.startswith(f"Dataset stories: 3 of 4 values of published_at fall in {where}")
    assert hint in report.problems()


def test_a_lake_without_what_a_batch_needs_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="There is no lake at"):
        check_lake(tmp_path, NOW)
    write_rows(tmp_path, "stories", [])
    assert check_lake(tmp_path, NOW).missing == ("stories", "events")
    assert (
        check_lake(tmp_path, NOW).problems()[1] == "Dataset events has no rows; write it as Parquet into raw/events/."
    )


def test_a_sound_lake_has_nothing_refused(tmp_path: Path) -> None:
    write_lake(tmp_path, stories=[story("s")], events=[event("u", "read", "s", ago(1))])
    report = check_lake(tmp_path, NOW)
    assert not report.problems()
    assert not any(one.refused for one in report.datasets.values())


def test_what_does_not_fit_into_memory_goes_to_a_folder_beside_the_lake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = 150_000
    lake = write_lake(tmp_path / "lake", stories=[story("s")])
    ids = pa.array([f"user-{n:0100}" for n in range(users)])
    at = pa.array([ago(1)] * users, pa.timestamp("us", "UTC"))
    columns = {"user_id": ids, "event_id": ids, "story_id": ["s"] * users, "type": ["read"] * users, "occurred_at": at}
    (lake / "raw" / "events").mkdir()
    pq.write_table(pa.table(columns), lake / "raw" / "events" / "a.parquet", row_group_size=users // 3)
    monkeypatch.setattr("lake.dialect.MEMORY", "75MB")
    assert check_lake(lake, NOW).datasets["events"].users == users
    assert [path.name for path in tmp_path.iterdir()] == ["lake"]

    def no_folder(*args: object, **options: object) -> AbstractContextManager[str]:
        assert options["dir"] == tmp_path
        return nullcontext(str(lake / "raw" / "events" / "a.parquet"))

    monkeypatch.setattr("tempfile.TemporaryDirectory", no_folder)
    with pytest.raises(BadInput, match=r"memory|directory"):
        check_lake(lake, NOW)
