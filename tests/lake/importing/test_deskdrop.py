"""The ready files for DeskDrop, on made-up files and on the real one where it is at hand."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from features.errors import BadInput
from lake.importing.sql_import import ImportReport, import_sql
from lake.ready_files import deskdrop
from tests.lake.conftest import open_lake

INTERACTIONS = """timestamp,eventType,contentId,personId,sessionId,userAgent,userRegion,userCountry
1450000100,VIEW,-3499919498720038879,-8845298781299428018,1,,,
1450000100,VIEW,-3499919498720038879,-8845298781299428018,1,,,
1450086500,LIKE,9222265156747237864,-8845298781299428018,1,,,
1450090000,BOOKMARK,9222265156747237864,7,1,,,
1450090001,COMMENT CREATED,9222265156747237864,7,1,,,
1450090002,FOLLOW,33,7,1,,,
"""
# 9222265156747237864 is shared twice (the first counts) and removed; 33 is only removed; 44 is never read;
# -3499919498720038879 is only known from events. The title has a comma and the text a line break and quotes.
ARTICLES = """timestamp,eventType,contentId,authorPersonId,authorSessionId,authorUserAgent,authorRegion,authorCountry,contentType,url,title,text,lang
1450080000,CONTENT SHARED,9222265156747237864,7,1,,,,HTML,http://a,"Hello, world","one ""two""
three four",en
1450080500,CONTENT SHARED,9222265156747237864,8,1,,,,HTML,http://a,Later,five,pt
1450095000,CONTENT REMOVED,9222265156747237864,7,1,,,,HTML,http://a,"Hello, world",one,en
1450095001,CONTENT REMOVED,33,7,1,,,,HTML,http://b,Gone,one,en
1450081000,CONTENT SHARED,44,-8845298781299428018,1,,,,HTML,http://c,Olá,,pt
"""
SECONDS_PER_WORD = 60 / 265
REAL = Path(os.environ.get("REX_DESKDROP", Path(__file__).parents[4] / "shared" / "data" / "deskdrop"))


def write(directory: Path, interactions: str = INTERACTIONS, articles: str | None = None) -> Path:
    directory.mkdir()
    (directory / "users_interactions.csv").write_text(interactions)
    if articles is not None:
        (directory / "shared_articles.csv").write_text(articles)
    return directory


def test_events_keep_large_ids_repeats_and_the_documented_types(tmp_path: Path) -> None:
    summary = run(write(tmp_path / "source"), tmp_path / "lake")
    assert summary.rows == {"events": 6, "stories": 3}
    rows = open_lake(tmp_path / "lake").execute(
        "SELECT user_id, story_id, type, epoch(occurred_at)::INT - 1450000000, claps, dt::VARCHAR FROM events ORDER BY occurred_at"
    )
    assert rows.fetchall() == [
        ("-8845298781299428018", "-3499919498720038879", "read", 100, None, "2015-12-13"),
        ("-8845298781299428018", "-3499919498720038879", "read", 100, None, "2015-12-13"),
        ("-8845298781299428018", "9222265156747237864", "clap", 86500, 1, "2015-12-14"),
        ("7", "9222265156747237864", "save", 90000, None, "2015-12-14"),
        ("7", "9222265156747237864", "comment", 90001, None, "2015-12-14"),
        ("7", "33", "save", 90002, None, "2015-12-14"),
    ]


def test_without_articles_a_story_is_published_when_first_touched(tmp_path: Path) -> None:
    run(write(tmp_path / "source"), tmp_path / "lake")
    rows = (
        open_lake(tmp_path / "lake")
        .execute("SELECT story_id, epoch(published_at)::INT - 1450000000 FROM stories")
        .fetchall()
    )
    assert sorted(rows) == [("-3499919498720038879", 100), ("33", 90002), ("9222265156747237864", 86500)]


def test_articles_give_author_title_language_reading_time_and_withdrawals(tmp_path: Path) -> None:
    run(write(tmp_path / "source", articles=ARTICLES), tmp_path / "lake")
    rows = open_lake(tmp_path / "lake").execute(
        """SELECT story_id, author_id, title, language, epoch(published_at)::INT - 1450000000, epoch(updated_at)::INT - 1450000000,
                  epoch(deleted_at)::INT - 1450000000, reading_time_s FROM stories ORDER BY story_id, updated_at"""
    )
    four_words = pytest.approx(4 * SECONDS_PER_WORD)
    assert rows.fetchall() == [
        ("-3499919498720038879", None, None, None, 100, 100, None, None),
        ("33", None, None, None, 90002, 90002, None, None),
        ("33", None, None, None, 90002, 95001, 95001, None),
        ("44", "-8845298781299428018", "Olá", "pt", 81000, 81000, None, None),
        ("9222265156747237864", "7", "Hello, world", "en", 80000, 80000, None, four_words),
        ("9222265156747237864", "7", "Hello, world", "en", 80000, 95000, 95000, four_words),
    ]


def run(source: Path, lake: Path) -> ImportReport:
    return import_sql(deskdrop(source), lake, files=source, now=datetime.now(UTC))


@pytest.mark.parametrize(
    ("interactions", "articles", "message"),
    [
        (INTERACTIONS.replace("personId", "who"), None, 'Referenced column "personId" not found'),
        (INTERACTIONS.replace("LIKE", "LOVE"), None, r"type is none of .*\n.*csv, line 4: `user_id=.*, type=LOVE`"),
        (
            INTERACTIONS.replace("1450090001", "noon"),
            None,
            r"occurred_at is not a time.*\n.*csv, line 6: `unix_s\(noon\)`",
        ),
        (INTERACTIONS.splitlines()[0] + "\n", None, "yields no rows"),
        (
            INTERACTIONS,
            ARTICLES.replace("CONTENT SHARED", "DROPPED"),
            r"visibility is none of .*\n.*shared_articles\.csv, line",
        ),
    ],
)
def test_bad_files_are_refused_and_leave_nothing(
    tmp_path: Path, interactions: str, articles: str | None, message: str
) -> None:
    source = write(tmp_path / "source", interactions, articles)
    with pytest.raises(BadInput, match=message):
        run(source, tmp_path / "lake")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_directory_without_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no file users_interactions\.csv"):
        run(tmp_path, tmp_path / "lake")


@pytest.mark.skipif(not REAL.exists(), reason=f"the DeskDrop data set is not at {REAL}; set REX_DESKDROP")
def test_the_real_data_set_comes_in_whole(tmp_path: Path) -> None:
    summary = run(REAL, tmp_path / "lake")
    assert summary.rows["events"] == 72_312
    db = open_lake(tmp_path / "lake")
    users_and_stories = db.execute("SELECT count(DISTINCT user_id), count(DISTINCT story_id) FROM events").fetchone()
    assert users_and_stories == (1_895, 2_987)
    types = dict(db.execute("SELECT type, count(*) FROM events GROUP BY 1").fetchall())
    assert types == {"read": 61_086, "clap": 5_745, "save": 2_463 + 1_407, "comment": 1_611}
