"""Data without dates come in where all of a dataset have none, and count as received when `--as-of` says."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from cli import app
from features.errors import BadInput
from lake.check import check_lake
from tests.lake.importing.small_files import NOW, events_of, imported, kept_whole, put, rows

RECEIVED = datetime(2020, 5, 1, tzinfo=UTC)
CLICKS = "user,item,ts\nu1,s1,2019-04-01\nu2,s1,2019-04-02\n"
WITHOUT = "user AS user_id, item AS story_id, 'read' AS type, NULL AS occurred_at"
DATED_STORY = "CREATE VIEW stories AS SELECT 's1' AS story_id, '2019-01-01' AS published_at;"
BOOKS = "CREATE VIEW stories AS SELECT DISTINCT item AS story_id, NULL AS published_at FROM csv('a.csv');"
RATINGS = "CREATE VIEW events AS SELECT user AS user_id, item AS story_id, 'read' AS type, ts AS occurred_at FROM csv('a.csv');"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return put(tmp_path / "in", a__csv=CLICKS)


def test_dated_ratings_of_undated_books_keep_their_dates(folder: Path) -> None:
    report = imported(folder, BOOKS + RATINGS, as_of=RECEIVED)
    assert [report.datasets[name].undated for name in ("stories", "events")] == [True, False]
    assert [row["published_at"] for row in rows(folder, "stories")] == [None]
    dated = [(row["occurred_at"].day, row.get("received_at")) for row in rows(folder, "events")]
    assert dated == [(1, None), (2, None)]
    assert [path.name for path in sorted((folder.parent / "lake" / "raw" / "events").iterdir())] == [
        "dt=2019-04-01",
        "dt=2019-04-02",
    ]
    assert kept_whole(folder)


def test_undated_events_of_dated_stories_lie_in_one_folder(folder: Path) -> None:
    imported(folder, DATED_STORY + f"CREATE VIEW events AS SELECT {WITHOUT} FROM csv('a.csv');", as_of=RECEIVED)
    assert [path.name for path in (folder.parent / "lake" / "raw" / "events").iterdir()] == ["undated"]
    assert kept_whole(folder)


def test_stories_made_of_events_without_dates_have_none_as_the_command_and_the_check_say(folder: Path) -> None:
    (folder / "import.sql").write_text(events_of("csv('a.csv')", WITHOUT))
    lake = folder.parent / "lake"
    run = CliRunner().invoke(app, ["import", str(folder / "import.sql"), str(lake), "--as-of", "2020-05-01"])
    assert run.exit_code == 0, run.output
    assert run.output.count("undated") == 2
    assert [(row["occurred_at"], row["received_at"]) for row in rows(folder, "events")] == [(None, RECEIVED)] * 2
    report = check_lake(lake, NOW)
    assert report.problems() == []
    assert {one.first for one in report.datasets.values()} == {None}
    shown = Console(file=io.StringIO(), width=100)
    shown.print(report.table())
    assert shown.file.getvalue().count("undated") == 2  # type: ignore[attr-defined]


def test_some_rows_without_dates_are_refused(folder: Path) -> None:
    some = WITHOUT.replace("NULL AS", "nullif(ts, '2019-04-01') AS")
    sql = DATED_STORY + f"CREATE VIEW events AS SELECT {some}, file, line FROM csv('a.csv');"
    with pytest.raises(BadInput, match="1 of 2 rows: occurred_at is empty, but mandatory where other rows") as refused:
        imported(folder, sql, as_of=RECEIVED)
    assert "a.csv, line 2" in str(refused.value)
    assert not (folder.parent / "lake").exists()


@pytest.mark.parametrize(
    ("sql", "as_of", "said"),
    [
        (events_of("csv('a.csv')", WITHOUT), NOW + timedelta(days=1), "is in the future"),
        (events_of("csv('a.csv')"), RECEIVED, "leave it out"),
        (events_of("csv('a.csv')", WITHOUT.replace("NULL", "'soon'")), RECEIVED, "is not a time"),
        (
            events_of("csv('a.csv')") + "CREATE VIEW users AS SELECT user AS user_id, NULL AS created_at FROM csv('a.csv');",
            None,
            "created_at is empty in all 2 rows of users. Only stories and events may have no dates",
        ),
    ],
    ids=["in the future", "not needed", "no dates but something else", "accounts"],
)  # fmt: skip
def test_what_cannot_be_undated_says_why(folder: Path, sql: str, as_of: datetime | None, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        imported(folder, sql, as_of=as_of)
    assert not (folder.parent / "lake").exists()


def test_an_as_of_that_cannot_be_or_is_not_needed_is_refused_before_anything_is_written(folder: Path) -> None:
    dated = DATED_STORY + RATINGS
    for as_of, message in (
        (RECEIVED, "here all have dates"),
        (NOW + timedelta(days=1), "is in the future; name the moment"),
        (datetime(1980, 1, 1, tzinfo=UTC), "is too early; name the moment"),
    ):
        for dry_run in (True, False):
            with pytest.raises(BadInput, match=message):
                imported(folder, dated, as_of=as_of, dry_run=dry_run)


def test_a_version_counts_as_received_no_earlier_than_it_was_made(folder: Path) -> None:
    books = BOOKS.replace("NULL AS published_at", "NULL AS published_at, '2021-02-03' AS updated_at")
    imported(folder, books + RATINGS, as_of=RECEIVED)
    assert [row["received_at"] for row in rows(folder, "stories")] == [datetime(2021, 2, 3, tzinfo=UTC)]


def test_files_of_ones_own_count_whatever_their_names(folder: Path) -> None:
    imported(folder, events_of("csv('a.csv')", WITHOUT), as_of=RECEIVED)
    for written in (folder.parent / "lake" / "raw").rglob("*.parquet"):
        written.rename(written.with_name("archive-2019.parquet"))
    assert {one.undated for one in check_lake(folder.parent / "lake", NOW).datasets.values()} == {True}
