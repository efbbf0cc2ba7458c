"""Of an import's SQL only views, macros and queries run, over files that Rex's own readers bring; nothing else is reached."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.errors import BadInput
from lake.importing.script import read_script
from lake.importing.sql_import import import_sql
from tests.lake.importing.small_files import NOW, STORIES, events_of, imported, put, rows

CLICKS = "user,item,ts\nu1,s1,2024-05-01T10:00:00Z\n"


def test_calls_are_found_wherever_sql_may_have_them_and_nowhere_else() -> None:
    script = read_script(
        """-- csv('comment.csv')
        CREATE VIEW events AS SELECT 'csv(''text.csv'')', é, "csv('name.csv')", time(ts, '%d'), ts::time /* csv('also.csv') */
        FROM CSV('it''s é.csv', delim := ';', columns := ['a', 'b'], skip := 1, header := FALSE, null := '\\N') AS c
        JOIN jsonl(matching('*.jsonl')) USING (x) JOIN parquet(['a.parquet', 'b.parquet']) USING (x);
        create or replace temp view "Stories" as from csv('more.csv')"""
    )
    assert [(call.reader, call.source, call.pattern) for call in script.calls] == [
        ("csv", "it's é.csv", ""),
        ("jsonl", None, "*.jsonl"),
        ("parquet", ("a.parquet", "b.parquet"), ""),
        ("csv", "more.csv", ""),
    ]
    assert dict(script.calls[0].options) == {
        "delim": ";", "columns": ("a", "b"), "skip": 1, "header": False, "null": "\\N",
    }  # fmt: skip
    assert [statement.view for statement in script.statements] == ["events", "stories"]
    assert '"time"(ts' in script.statements[0].sql
    assert "ts::time" in script.statements[0].sql


REFUSED = {
    "SELECT * FROM read_csv('a.csv')": r"line 1: read_csv guesses .* csv\('…'\)",
    "SELECT 1;\nSELECT * FROM read_parquet('a.parquet')": "line 2: read_parquet guesses",
    "SELECT * FROM glob('*')": "glob guesses",
    "COPY events TO 'x.csv'": "does not belong in an import",
    "CREATE TABLE events AS SELECT 1": "does not belong in an import",
    "ATTACH 'x.db'": "does not belong in an import",
    "INSTALL spatial": "does not belong in an import",
    "LOAD spatial": "does not belong in an import",
    "SET threads = 1": "does not belong in an import",
    "PRAGMA version": "does not belong in an import",
    "INSERT INTO x VALUES (1)": "does not belong in an import",
    "SELECT * FROM csv(file)": "its arguments must be literals",
    "SELECT * FROM csv('a' || '.csv')": "its arguments must be literals",
    "SELECT * FROM csv()": "needs a file's name, a list of names, or matching",
    "SELECT * FROM csv('a.csv', ';')": r"options are named, as in delim := ';'",
    "SELECT * FROM csv('a.csv', delim := ',', delim := ';')": "says delim twice",
    "SELECT * FROM csv('a.csv'": "this bracket is never closed",
    "SELEC 1": r"cannot be parsed: .*SELEC.*\(LINE 1",
}


@pytest.mark.parametrize("sql", REFUSED)
def test_what_does_not_belong_in_an_import_is_refused(sql: str) -> None:
    with pytest.raises(BadInput, match=REFUSED[sql]):
        read_script(sql)


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("FROM '{folder}/clicks.csv'", r"files are read by csv\('…'\)"),
        ("SELECT * FROM 'clicks.csv'", r"files are read by csv\('…'\)"),
        ("SELECT * FROM query('SELECT * FROM read' || '_csv(''{folder}/clicks.csv'')')", r"files are read by csv\('…'\)"),
        ("CREATE VIEW a AS\nSELECT 1;\n\nSELECT usr\nFROM csv('clicks.csv')", r'import\.sql, line 4 cannot be run: .*"usr" not found in FROM clause! Candidate bindings: .*"user"'),
        ("-- é\n\nCREATE VIEW a AS SELECT\n  unix_second(1)", r'import\.sql, line 4 cannot be run: .*unix_second does not exist! Did you mean "unix_s"\?'),
        ("SELECT unix_s(1, 2, 3)", r"import\.sql, line 1 cannot be run: .*Candidate macros: unix_s\(x\)"),
        ("\nCREATE VIEW users AS SELECT 'u' AS user, '2026-01-01' AS created_at", r"import\.sql, line 2: the view users yields user, which users does not have; did you mean user_id\? It has user_id,"),
        ("\nSELECT * FROM read_csv('a.csv')", r"import\.sql: line 2: read_csv guesses"),
        ("CREATE MACRO unix_s(x) AS x", "import\\.sql, line 1: there is a function unix_s already"),
        ("create or replace function main.ID(x) AS x", "there is a function id already"),
        ('CREATE TEMP MACRO "Lower"(x) AS x', "there is a function lower already"),
        ("CREATE MACRO rex_trim(x) AS x", "names that begin with rex_ are Rex's own"),
        ("CREATE VIEW rex_events AS SELECT 1", "names that begin with rex_ are Rex's own"),
        ("SELECT * FROM progress", "progress does not exist"),
        ("SELECT getenv('HOME')", "getenv"),
        ("SELECT set_config('memory_limit', '9GB')", "set_config"),
        ("SELECT * FROM csv(matching('/etc/*'))", r"matching\('/etc/\*'\) is not a pattern of file names below --files"),
        ("SELECT * FROM csv(matching('.'))", "is not a pattern of file names"),
        ("SELECT * FROM csv(matching('*.csv', 'b'))", "needs a file's name, a list of names, or matching"),
        ("SELECT * FROM csv('clicks.csv', skip := true)", "skip cannot be True"),
        ("SELECT * FROM csv('clicks.csv', null := [1])", "null cannot be"),
        ("SELECT * FROM csv('clicks.csv', header := false, columns := [1, 2, 3])", "columns cannot be"),
        ("SELECT * FROM csv('clicks.csv', quote := ',')", "cannot be the delimiter and the quote"),
        ("SELECT * FROM csv('clicks.csv', quote := '', delim := chr(10))", "must be literals"),
        ("SELECT * FROM csv('clicks.csv', sep := ';')", "csv has no option 'sep'; it has columns, delim"),
        ("SELECT * FROM csv('clicks.csv', skip := -1)", "skip cannot be -1"),
        ("SELECT * FROM csv('clicks.csv', delim := 3)", "delim cannot be 3"),
        ("SELECT * FROM parquet('clicks.csv', delim := ';')", "parquet has no option 'delim'; it has none"),
        ("SELECT * FROM parquet('clicks.csv')", r"clicks\.csv is not a readable Parquet file"),
        ("SELECT * FROM csv(['clicks.csv', 'other.csv'])", r"other\.csv has no column 'item', which clicks\.csv has"),
    ],
)  # fmt: skip
def test_no_other_file_is_reached_and_nothing_is_written(tmp_path: Path, sql: str, message: str) -> None:
    folder = put(tmp_path / "in", clicks__csv=CLICKS, other__csv="user,ts\nu1,T\n")
    with pytest.raises(BadInput, match=message):
        imported(folder, events_of("csv('clicks.csv')") + sql.format(folder=folder))
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_several_files_are_one_table_and_what_matched_is_told(tmp_path: Path) -> None:
    second = "ts,item,user\n2024-05-02T10:00:00Z,s2,u2\n"
    folder = put(tmp_path / "in", day1__csv=CLICKS, day2__csv=second)
    report = imported(folder, events_of("csv(matching('day*.csv'))"))
    assert report.notes == ("day*.csv matches day1.csv, day2.csv",)
    assert sorted((row["user_id"], row["story_id"]) for row in rows(folder, "events")) == [("u1", "s1"), ("u2", "s2")]


@pytest.mark.parametrize("word", ["user", "current_user", "USER", "current_schema"])
def test_a_word_of_the_session_is_a_column_or_nothing(tmp_path: Path, word: str) -> None:
    """DuckDB has its own user stand for one that a file does not have."""
    folder = put(tmp_path / "in", a__csv="userId,item,ts\nu1,s1,2024-05-01T10:00:00Z\n")
    columns = f"{word} AS user_id, item AS story_id, 'read' AS type, ts AS occurred_at"
    with pytest.raises(BadInput, match=f"(?i)there is no column {word}"):
        imported(folder, events_of("csv('a.csv')", columns))


def test_a_file_is_not_read_twice_by_one_call(tmp_path: Path) -> None:
    folder = put(tmp_path / "in" / "d", a__csv=CLICKS).parent
    for names in ("['d', 'd/a.csv']", "['d/a.csv', 'd/../d/a.csv']"):
        with pytest.raises(BadInput, match=r"a\.csv twice; its rows would count twice"):
            imported(folder, events_of(f"csv({names})"))


def test_queries_are_answered_and_macros_and_helper_views_may_be_made(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", clicks__csv=CLICKS)
    sql = f"""CREATE MACRO shout(x) AS upper(x); CREATE VIEW clicks AS FROM csv('clicks.csv');
        CREATE VIEW events AS SELECT shout(user) AS user_id, item AS story_id, 'read' AS type, ts AS occurred_at FROM clicks; {STORIES}
        SELECT count(*) AS clicks FROM clicks"""
    report = imported(folder, sql)
    assert "clicks" in report.results[0]
    assert [row["user_id"] for row in rows(folder, "events")] == ["U1"]


def test_a_lake_needs_stories_and_the_message_says_how_to_make_them(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", clicks__csv=CLICKS)
    with pytest.raises(BadInput, match=r"has CREATE VIEW events, but no CREATE VIEW stories; .* GROUP BY story_id"):
        imported(folder, "CREATE VIEW events AS SELECT 1")


def test_folders_may_have_any_name(tmp_path: Path) -> None:
    """A folder `user=alice` above a file with a column `user` used to take that column's place."""
    names = ("a[1]", "it's", "a b", "x=y", "50%", "{a,b}", "*?", "#", "user=alice")
    folder = put(tmp_path.joinpath(*names, "in"), clicks__csv=CLICKS)
    imported(folder, events_of("csv('clicks.csv')"))
    assert [row["user_id"] for row in rows(folder, "events")] == ["u1"]


def test_sql_that_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no SQL file .* `rex import --list`"):
        import_sql(tmp_path / "import.sql", tmp_path / "lake", now=NOW)
    (tmp_path / "import.sql").write_bytes(b"\xff")
    with pytest.raises(BadInput, match="is not UTF-8 text"):
        import_sql(tmp_path / "import.sql", tmp_path / "lake", now=NOW)


def test_views_may_stand_in_any_order_but_not_use_each_other(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", a__csv="user,item,ts\nu1,s1,2019-04-01\n")
    events = (
        "CREATE VIEW events AS SELECT user AS user_id, item AS story_id, 'read' AS type, ts AS occurred_at FROM {};"
    )
    imported(folder, STORIES + events.format("raw") + "CREATE VIEW raw AS SELECT * FROM csv('a.csv');")
    assert [row["story_id"] for row in rows(folder, "stories")] == ["s1"]
    with pytest.raises(BadInput, match=r"line 1 cannot be run: .*does not exist"):
        imported(
            put(tmp_path / "again" / "in", a__csv="user,item,ts\nu1,s1,2019-04-01\n"),
            STORIES + events.format("stories"),
        )


@pytest.mark.parametrize("sql", ["", "\n", "-- nothing yet\n"])
def test_an_empty_script_is_told_what_a_lake_needs(tmp_path: Path, sql: str) -> None:
    with pytest.raises(BadInput, match="CREATE VIEW stories; a lake needs stories and events"):
        imported(put(tmp_path / "in"), sql)
