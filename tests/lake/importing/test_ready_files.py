"""The ready files bring in small made-up samples of the public shapes, and the real files where they are at hand."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import app
from features.duckdb_views import connect
from features.errors import BadInput
from lake.importing.sql_import import ImportReport, import_sql
from lake.ready_files import about, ready_files
from tests.lake.conftest import open_lake
from tests.lake.importing.small_files import NOW, kept_whole, put, rows

REAL = Path(os.environ.get("REX_DATA", Path(__file__).parents[4] / "shared" / "data"))


def bring(folder: Path, name: str, **files: str | bytes) -> ImportReport:
    """Imports the files by the ready file."""
    report = import_sql(Path(name), folder.parent / "lake", files=put(folder, **files), now=NOW)
    assert kept_whole(folder), "what an import accepts, a batch keeps"
    return report


def lines(*values: dict[str, Any]) -> str:
    return "\n".join(map(json.dumps, values)) + "\n"


def events(folder: Path) -> list[tuple[Any, ...]]:
    return sorted(
        (e["user_id"], e["story_id"], e["type"], e["occurred_at"], e.get("strength")) for e in rows(folder, "events")
    )


def stories(folder: Path, *columns: str) -> list[tuple[Any, ...]]:
    return sorted(tuple(story.get(column) for column in ("story_id", *columns)) for story in rows(folder, "stories"))


FIRST, SECOND = datetime(2009, 12, 14, 2, 52, 24, tzinfo=UTC), datetime(2009, 12, 14, 2, 52, 59, tzinfo=UTC)
RATED = [("1", "31", "read", FIRST, 2.5), ("7", "31", "read", SECOND, 4.0)]
FILMS = [("31", "American President, The (1995)", ["Comedy", "Drama"], FIRST)]


def test_movielens(tmp_path: Path) -> None:
    bring(
        tmp_path / "in",
        "movielens",
        ratings__csv="userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n7,31,4.0,1260759179\n",
        movies__csv='movieId,title,genres\n31,"American President, The (1995)",Comedy|Drama\n32,Unrated (2001),(no genres listed)\n',
    )
    assert events(tmp_path / "in") == RATED
    assert stories(tmp_path / "in", "title", "topics", "published_at") == FILMS


def test_movielens_with_two_colons(tmp_path: Path) -> None:
    bring(
        tmp_path / "in",
        "movielens-dat",
        ratings__dat="1::31::2.5::1260759144\n7::31::4::1260759179\n",
        movies__dat='31::Misérables, Les: "Now" (1995)::Comedy|Drama\n'.encode("latin-1"),
    )
    assert events(tmp_path / "in") == RATED
    assert stories(tmp_path / "in", "title", "topics") == [("31", 'Misérables, Les: "Now" (1995)', ["Comedy", "Drama"])]


def test_movielens_of_recbole(tmp_path: Path) -> None:
    bring(
        tmp_path / "in",
        "movielens-inter",
        ml__inter="user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t31\t2.5\t1260759144\n7\t31\t4\t1260759179.0\n",
        ml__item='item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n31\tThe "President\t1995\tComedy Drama\n',
    )
    assert events(tmp_path / "in") == RATED
    assert stories(tmp_path / "in", "title", "topics") == [("31", 'The "President', ["Comedy", "Drama"])]


def test_mind(tmp_path: Path) -> None:
    bring(
        tmp_path / "in",
        "mind",
        behaviors__tsv="1\tU1\t11/15/2019 8:55:22 AM\tN9 N8\tN55689-1 N35729-0\n2\tU2\t11/15/2019 12:00:00 PM\t\tN35729-0\n",
        news__tsv='N55689\tsports\tnfl\t"Big" Ben\'s\tText\thttps://a\t[]\t[]\nN35729\tnews\tus\tPorts\t\thttps://b\t[]\t[]\nN1\tx\ty\tNever\t\t\t[]\t[]\n',
    )
    at, noon = datetime(2019, 11, 15, 8, 55, 22, tzinfo=UTC), datetime(2019, 11, 15, 12, tzinfo=UTC)
    assert events(tmp_path / "in") == [
        ("U1", "N35729", "impression", at, None),
        ("U1", "N55689", "impression", at, None),
        ("U1", "N55689", "open", at, None),
        ("U2", "N35729", "impression", noon, None),
    ]
    assert {(e["request_id"], e["story_id"], e["position"]) for e in rows(tmp_path / "in", "events")} == {
        ("1", "N55689", 0), ("1", "N35729", 1), ("2", "N35729", 0),
    }  # fmt: skip
    assert stories(tmp_path / "in", "title", "topics", "published_at") == [
        ("N35729", "Ports", ["news", "us"], at),
        ("N55689", '"Big" Ben\'s', ["sports", "nfl"], at),
    ]


def test_lastfm(tmp_path: Path) -> None:
    name = "userid-timestamp-artid-artname-traid-traname__tsv"
    played = 'user_1\t2009-05-04T23:08:57Z\ta1\tDeep "Dish\tt1\tFlashdance\nuser_1\t2009-05-04T13:54:10Z\t\tAnon\t\tSong\nuser_2\t2009-05-03T00:00:00Z\t\tAnon\t\tSong\n'
    assert bring(tmp_path / "in", "lastfm", **{name: played}).rows == {"stories": 2, "events": 3}
    assert Counter(event["story_id"] for event in rows(tmp_path / "in", "events"))["t1"] == 1
    titles = stories(tmp_path / "in", "title", "published_at")
    assert {title for _, title, _ in titles} == {"Flashdance", "Song"}
    assert min(at for *_, at in titles) == datetime(2009, 5, 3, tzinfo=UTC)


def test_goodreads(tmp_path: Path) -> None:
    common = {"date_updated": "", "review_id": "r"}
    shelved = lines(
        {"user_id": "u1", "book_id": "5", "is_read": True, "rating": 4, "date_added": "Fri Sep 15 12:00:00 -0700 2017"}
        | common,
        {"user_id": "u2", "book_id": "5", "is_read": False, "rating": 0, "date_added": "Thu Sep 14 12:00:00 +0000 2017"}
        | common,
    )
    books = lines(
        {"book_id": "5", "title": "Emma", "language_code": "eng", "authors": [{"author_id": "a9", "role": ""}], "popular_shelves": [{"count": "9", "name": "to-read"}]},
        {"book_id": "6", "title": "Nobody's", "language_code": "", "authors": [], "popular_shelves": []},
    )  # fmt: skip
    files = {
        "goodreads_interactions_x__json__gz": gzip.compress(shelved.encode()),
        "goodreads_books_x__json__gz": gzip.compress(books.encode()),
    }
    bring(tmp_path / "in", "goodreads", **files)
    assert events(tmp_path / "in") == [
        ("u1", "5", "read", datetime(2017, 9, 15, 19, tzinfo=UTC), 4.0),
        ("u2", "5", "save", datetime(2017, 9, 14, 12, tzinfo=UTC), None),
    ]
    first = datetime(2017, 9, 14, 12, tzinfo=UTC)
    assert stories(tmp_path / "in", "author_id", "title", "language", "topics", "published_at") == [
        ("5", "a9", "Emma", "eng", ["to-read"], first)
    ]


def test_yelp(tmp_path: Path) -> None:
    bring(
        tmp_path / "in",
        "yelp",
        yelp_academic_dataset_review__json=lines({"review_id": "r1", "user_id": "u-1", "business_id": "b_1", "stars": 4.0, "text": "a\nb", "date": "2018-07-07 22:09:11"}),
        yelp_academic_dataset_business__json=lines({"business_id": "b_1", "name": "Café", "categories": "Gastropubs, Food"}, {"business_id": "b_2", "name": "x", "categories": None}),
        yelp_academic_dataset_user__json=lines({"user_id": "u-1", "yelping_since": "2007-01-25 16:47:26"}),
    )  # fmt: skip
    at = datetime(2018, 7, 7, 22, 9, 11, tzinfo=UTC)
    assert events(tmp_path / "in") == [("u-1", "b_1", "read", at, 4.0)]
    assert stories(tmp_path / "in", "title", "topics") == [("b_1", "Café", ["Gastropubs", "Food"])]
    assert [user["created_at"] for user in rows(tmp_path / "in", "users")] == [
        datetime(2007, 1, 25, 16, 47, 26, tzinfo=UTC)
    ]


def test_amazon_reviews(tmp_path: Path) -> None:
    review = {
        "rating": 5.0,
        "title": "Nice",
        "text": "x",
        "asin": "B1",
        "parent_asin": "B0",
        "user_id": "AE",
        "timestamp": 1588687728923,
    }
    meta = {"title": "Comb", "store": "S", "categories": ["Beauty", "Hair"], "parent_asin": "B0", "average_rating": 4.8}
    bring(tmp_path / "in", "amazon-reviews", All_Beauty__jsonl=lines(review), meta_All_Beauty__jsonl=lines(meta))
    at = datetime(2020, 5, 5, 14, 8, 48, 923000, tzinfo=UTC)
    assert events(tmp_path / "in") == [("AE", "B0", "read", at, 5.0)]
    assert stories(tmp_path / "in", "author_id", "title", "topics") == [("B0", "S", "Comb", ["Beauty", "Hair"])]


def test_hacker_news(tmp_path: Path) -> None:
    items = [
        {"id": 1, "type": "story", "by": "pg", "time": 1160418111, "title": "Y Combinator", "score": 57},
        {"id": 2, "type": "comment", "by": "sama", "time": 1160418112, "parent": 1, "text": "x"},
        {"id": 3, "type": "comment", "by": "pg", "time": 1160418113, "parent": 2, "text": "deep"},
        {"id": 4, "type": "comment", "time": 1160418114, "parent": 1, "deleted": True},
        {"id": 5, "type": "job", "by": "pg", "time": 1160418115, "title": "Work"},
    ]
    bring(tmp_path / "in", "hacker-news", **{"hacker-news-1__jsonl": lines(*items)})
    assert [(user, story, kind) for user, story, kind, *_ in events(tmp_path / "in")] == [
        ("pg", "1", "share"),
        ("sama", "1", "share"),
    ]
    assert stories(tmp_path / "in", "author_id", "title") == [("1", "pg", "Y Combinator")]


BOOKS = {
    "BX-Book-Ratings__csv": '"User-ID";"ISBN";"Book-Rating"\n"276725";"034545104X";"0"\n"276726";"034545104X";"5"\n"1";"unknown";"5"\n',
    "BX-Books__csv": '"ISBN";"Book-Title";"Book-Author"\n"034545104X";"Flesh \\"Tones\\"; é";"M. J. Rose"\n'.encode(
        "latin-1"
    ),
}
PAPERS = {"users__dat": "2 193 7\n1 7\n", "tag-item__dat": "2 7 193\n1 7\n", "tags__dat": "web\n2.0\n"}


RECEIVED = datetime(2013, 8, 3, tzinfo=UTC)


def undated(folder: Path, name: str, **files: str | bytes) -> None:
    """As `bring`, for data without dates: all of them were received at one moment, and lie in one folder."""
    report = import_sql(Path(name), folder.parent / "lake", files=put(folder, **files), as_of=RECEIVED, now=NOW)
    assert kept_whole(folder), "what an import accepts, a batch keeps"
    assert [one.undated for one in report.datasets.values()] == [True, True]
    assert {row["received_at"] for name in report.rows for row in rows(folder, name)} == {RECEIVED}
    assert {row["occurred_at"] for row in rows(folder, "events")} == {None}
    assert {row["published_at"] for row in rows(folder, "stories")} == {None}
    assert [path.name for path in (folder.parent / "lake" / "raw" / "events").iterdir()] == ["undated"]


@pytest.mark.parametrize(("name", "files"), [("book-crossing", BOOKS), ("citeulike", PAPERS)])
def test_data_without_dates_need_a_time_of_receipt(tmp_path: Path, name: str, files: dict[str, str | bytes]) -> None:
    with pytest.raises(
        BadInput,
        match=r"published_at is empty in all \d rows of stories\. .* --as-of .*Made-up dates make the ranking worse",
    ):
        bring(tmp_path / "in", name, **files)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_book_crossing(tmp_path: Path) -> None:
    undated(tmp_path / "in", "book-crossing", **BOOKS)
    assert [(user, strength) for user, *_, strength in events(tmp_path / "in")] == [("276725", None), ("276726", 5.0)]
    assert stories(tmp_path / "in", "title") == [("034545104X", 'Flesh "Tones"; é')]


def test_citeulike(tmp_path: Path) -> None:
    undated(tmp_path / "in", "citeulike", **PAPERS)
    had = [(user, paper, kind) for user, paper, kind, *_ in events(tmp_path / "in")]
    assert had == [("1", "193", "read"), ("1", "7", "read"), ("2", "7", "read")]
    assert stories(tmp_path / "in", "topics") == [("193", ["web"]), ("7", ["web", "2.0"])]


@pytest.mark.skipif(not (REAL / "movielens-small").exists(), reason=f"MovieLens is not at {REAL}; set REX_DATA")
def test_the_real_movielens_comes_in_whole(tmp_path: Path) -> None:
    report = import_sql(Path("movielens"), tmp_path / "lake", files=REAL / "movielens-small", now=NOW)
    assert (report.rows, report.datasets["events"].users) == ({"stories": 9_066, "events": 100_004}, 671)
    stars = dict(open_lake(tmp_path / "lake").execute("SELECT strength, count(*) FROM events GROUP BY 1").fetchall())
    assert (stars[0.5], stars[5.0], sum(stars.values())) == (1_101, 15_095, 100_004)


@pytest.mark.skipif(not (REAL / "citeulike-t").exists(), reason=f"CiteULike is not at {REAL}; set REX_DATA")
def test_the_real_citeulike_comes_in_whole_and_undated(tmp_path: Path) -> None:
    report = import_sql(Path("citeulike"), tmp_path / "lake", files=REAL / "citeulike-t", as_of=RECEIVED, now=NOW)
    assert (report.rows["events"], report.datasets["events"].users) == (134_860, 7_947)
    dates = "SELECT count(occurred_at), count(dt), min(received_at), max(received_at) FROM events"
    assert connect(tmp_path / "lake").execute(dates).fetchall() == [(0, 0, RECEIVED, RECEIVED)]


def test_the_command_lists_every_ready_file_with_what_it_reads() -> None:
    listed = CliRunner().invoke(app, ["import", "--list"]).output
    for name, sql in ready_files().items():
        assert f"{name}  {about(sql)}" in listed


def test_a_dry_run_with_refused_rows_exits_with_1_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = put(
        tmp_path / "in", users_interactions__csv="timestamp,eventType,contentId,personId\n1450000000,VIEW,a,NULL\n"
    )
    arguments = ["import", "deskdrop", str(tmp_path / "lake"), "--files", str(folder), "--dry-run"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "events, first rows:" in result.output
    assert "users_interactions.csv, line 2: `NULL`" in result.output + capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
