"""What a view yields becomes typed rows by one rule a type; one row that cannot be one refuses the whole import."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.datasets import dataset as dataset_of
from features.errors import BadInput
from lake.importing import typed_rows as typing_of_rows
from lake.importing.script import read_script
from lake.importing.sql_import import import_engine
from lake.importing.typed_rows import TypedRows, sentence, typed_rows
from tests.lake.importing.small_files import NOW, STORIES, events_of, imported, put, rows

AT = datetime(2026, 1, 31, 18, tzinfo=UTC)
EVENT = {"user_id": "'u1'", "story_id": "'s1'", "type": "'read'", "occurred_at": "'2026-01-31T18:00:00Z'"}
STORY = {"story_id": "'s1'", "published_at": "'2026-01-31T18:00:00Z'"}


One = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    with import_engine(tmp_path_factory.mktemp("work")) as connection:
        yield connection


def view(db: duckdb.DuckDBPyConnection, folder: Path, dataset: str, select: str) -> TypedRows:
    """What comes of a view."""
    [statement] = read_script(f"CREATE OR REPLACE VIEW {dataset} AS {select}").statements
    db.execute(statement.sql)
    return typed_rows(db, dataset_of(dataset), folder / "rows.parquet", NOW, f"the view {dataset}")


def typed(db: duckdb.DuckDBPyConnection, folder: Path, dataset: str, select: str) -> list[dict[str, Any]]:
    """The rows that come of a query. BadInput when one is refused."""
    found = view(db, folder, dataset, select)
    if found.report.refused:
        raise BadInput("\n".join(found.report.lines(sentence)))
    return db.sql(found.query).to_arrow_table().to_pylist()


def one_row(db: duckdb.DuckDBPyConnection, folder: Path, dataset: str, cells: dict[str, str]) -> dict[str, Any]:
    """The row that comes of SQL expressions. BadInput when it is refused."""
    [row] = typed(db, folder, dataset, "SELECT " + ", ".join(f"{sql} AS {name}" for name, sql in cells.items()))
    return row


def by_type(db: duckdb.DuckDBPyConnection, sqls: Iterable[str]) -> Iterable[list[str]]:
    """The expressions, those of one type together."""
    groups: dict[str, list[str]] = {}
    for sql in sqls:
        [statement] = read_script(f"SELECT typeof({sql})").statements
        [(kind,)] = db.execute(statement.sql).fetchall()
        groups.setdefault(kind, []).append(sql)
    return groups.values()


def select_of(row: dict[str, str], name: str, sqls: list[str]) -> tuple[str, str]:
    """A dataset, and a query of rows with each of the expressions in column `name`."""
    dataset = "events" if "user_id" in row else "stories"
    rows = [row | ({"story_id": f"'s{i}'"} if dataset == "stories" else {}) | {name: sql} for i, sql in enumerate(sqls)]
    selects = [", ".join(f"{cell} AS {column}" for column, cell in one.items()) for one in rows]
    return dataset, " UNION ALL ".join(f"SELECT {select}" for select in selects)


def values_of(
    db: duckdb.DuckDBPyConnection, folder: Path, row: dict[str, str], name: str, sqls: Iterable[str]
) -> dict[str, Any]:
    """What comes of each expression in column `name`."""
    found = {}
    for group in by_type(db, sqls):
        answers = typed(db, folder, *select_of(row, name, group))
        found |= {sql: answer[name] for sql, answer in zip(group, answers, strict=True)}
    return found


def check_refusals(
    db: duckdb.DuckDBPyConnection, folder: Path, row: dict[str, str], name: str, messages: dict[str, str]
) -> None:
    """Every expression in column `name` is refused with its message: the row's, or the whole view's where it is not of a type."""
    for group in by_type(db, messages):
        for sqls in (group, *([sql] for sql in group)):
            dataset, select = select_of(row, name, sqls)
            try:
                view(db, folder, dataset, select)
                query = f"SELECT reason, ltrim(_problem.cell, chr(2) || chr(3)) FROM rex_{dataset} ORDER BY _row"
                said = [
                    f"{sentence(dataset_of(dataset), str(reason))}\n`{cell}`"
                    for reason, cell in db.execute(query).fetchall()
                ]
            except BadInput as error:
                said = [str(error)]
            if len(said) == len(sqls):
                for sql, text in zip(sqls, said, strict=True):
                    assert re.search(messages[sql], text), (sql, text)
                if sqls is group:
                    break


@pytest.fixture
def one_event(db: duckdb.DuckDBPyConnection, tmp_path: Path) -> One:
    return lambda **cells: one_row(db, tmp_path, "events", EVENT | cells)


@pytest.fixture
def one_story(db: duckdb.DuckDBPyConnection, tmp_path: Path) -> One:
    return lambda **cells: one_row(db, tmp_path, "stories", STORY | cells)


IDS = {
    "' u1 '": "u1", "'007'": "007", "10": "10", "10.0::DOUBLE": "10", "10::DECIMAL(5, 1)": "10", "whole('10.0')": "10",
    "18446744073709551615::UBIGINT": "18446744073709551615", "-9223372036854775808": "-9223372036854775808",
"id('2.0')": "2.0", "'none'": "none", "'١٢'": "١٢", "'" + "é" * 64 + "'": "é" * 64,
    "'6f9619ff-8b86-d011-b42d-00cf4fc964ff'::UUID": "6f9619ff-8b86-d011-b42d-00cf4fc964ff",
}  # fmt: skip


def test_ids(db: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    assert values_of(db, tmp_path, EVENT, "user_id", IDS) == IDS


NO_IDS = {
    "NULL": "user_id is empty, but mandatory", "''": "is empty", "' '": "is empty",
    **{f"'{text}'": "stands for a missing value; set null := " for text in ("\\N", "NULL", "null", "NA", "NaN", "None", "<NA>")},
    **{f"'{text}'": "written as a float" for text in ("1.23457E+17", "1e5", "10.", "1.0E5")},
    "'{\"$oid\": \"x\"}'": "is a structure or a list", "'[1]'": "is a structure or a list",
    "'10.0'": r"written as a float, and may have lost digits; use whole\(x\), or id\(x\)", "10.5::DOUBLE": "is a fraction", "1e17::DOUBLE": "float beyond",
    "'nan'::DOUBLE": "is a fraction", "whole('x')": r"is not an id\n.*`whole\(x\)`", "true": "of type BOOLEAN, but user_id is an id",
    "DATE '2024-01-01'": "of type DATE", "{'a': 1}": "of type STRUCT", "['u1']": r"of type VARCHAR\[\]",
    "'x'::BLOB": "of type BLOB", "json('\"u1\"')": "is JSON; take its text with ->>",
    f"'{'i' * 129}'": "malformed_user_id", "'a' || chr(7)": "malformed_user_id", "'..'": "malformed_user_id", "chr(3) || 'u1'": "malformed_user_id",
}  # fmt: skip


def test_what_is_no_id_is_refused(db: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    check_refusals(db, tmp_path, EVENT, "user_id", NO_IDS)


TIMES = {
    "'2026-01-31T18:00:00Z'": AT, "'2026-01-31 18:00:00'": AT, "'2026-01-31T20:00+02:00'": AT, "'2026-01-31T20:00:00.000+0200'": AT,
    "'2026-01-31 18:00:00.123456789 UTC'": AT.replace(microsecond=123456), "'2026-01-31'": AT.replace(hour=0),
    "TIMESTAMP '2026-01-31 18:00:00'": AT, "TIMESTAMPTZ '2026-01-31 20:00:00+02'": AT, "DATE '2026-01-31'": AT.replace(hour=0),
    "TIMESTAMP_NS '2026-01-31 18:00:00.123456789'": AT.replace(microsecond=123456),
    "unix_s('1769882400')": AT, "unix_s(1769882400.5)": AT.replace(microsecond=500000), "unix_ms('1769882400000')": AT,
    "unix_us(1769882400000001)": AT.replace(microsecond=1), "unix_ns('1769882400000001999')": AT.replace(microsecond=1),
    "time('01/31/2026 6:00:00 PM', '%m/%d/%Y %I:%M:%S %p')": AT,
    "time('31.01.2026 13:00', '%d.%m.%Y %H:%M', 'America/New_York')": AT,
    "time('31.07.2025 20:00', '%d.%m.%Y %H:%M', 'Europe/Berlin')": AT.replace(year=2025, month=7),
    "time('2026-01-31 20:00 +0200', '%Y-%m-%d %H:%M %z')": AT,
    "'2026-02-01T08:59+14:59'": AT,
}  # fmt: skip


def test_times(db: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    assert values_of(db, tmp_path, EVENT, "occurred_at", TIMES) == TIMES


NO_TIMES = {
    "'12/11/19'": "is not a time such as 2026", "'24-05-01'": "is not a time such as", "'infinity'": "is not a time such as",
    "'infinity'::TIMESTAMP": "is not a moment", "'2024-02-30'": "is not a time", "'0019-12-11'": "implausible_occurred_at",
    "TIMESTAMP '0012-11-19'": "implausible_occurred_at", "TIMESTAMP '0200-01-01 (BC) 00:00:00'": "implausible_occurred_at", "'2026-01-31T18'": "is not a time", "'noon'": "is not a time",
    "'1769882400'": r"a number of this size is unix_s\(x\)", "1769882400000": r"is unix_ms\(x\)", "1769882400000000": r"is unix_us\(x\)",
    "unix_ms('1769882400')": r"of this size is unix_s\(x\)\n.*`unix_ms\(1769882400\)`", "unix_s('1769882400000')": r"is unix_ms\(x\)",
    "unix_ms('abc')": r"is not a time .*\n.*`unix_ms\(abc\)`", "time('12/11/19', '%m/%d/%Y')": r"`time\(12/11/19, %m/%d/%Y\)`",
    "time('x', '%Y', 'Europe/Berlin')": r"`time\(x, %Y\)`",
    "time('2024-03-31 02:30', '%Y-%m-%d %H:%M', 'Europe/Berlin')": r"`time\(2024-03-31 02:30",  # clocks skip it
    "time('05-01', '%m-%d')": r"`time\(05-01, %m-%d\)`", "'2026-01-31T18:00+25:00'": "is not a time", "'2026-01-31T18:00+02:99'": "is not a time",
    "time('2026-01-31 20:00 +0200', '%Y-%m-%d %H:%M %z', 'Asia/Tokyo')": r"`time\(",
    "''": "occurred_at is empty, but mandatory", "'2027-01-31'": "lies in the future",
    "['2026-01-31']": r"of type VARCHAR\[\], but occurred_at is one time",
}  # fmt: skip


def test_what_is_no_time_is_refused(db: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    check_refusals(db, tmp_path, EVENT, "occurred_at", NO_TIMES)


def test_a_column_without_times_or_in_a_wrong_unit_is_refused_whole(one_event: One) -> None:
    with pytest.raises(BadInput, match="occurred_at is empty in all 1 rows of events"):
        one_event(occurred_at="''")
    with pytest.raises(BadInput, match="1 of 1 values of occurred_at fall in January 1970, as seconds do"):
        one_event(occurred_at="TIMESTAMP '1970-01-21 11:38:02'")


LISTS = {
    "words('art| music ||', '|')": ["art", "music"],
    "words('', '|')": None,
    "['a', ' b ', '', NULL]": ["a", "b"],
    "[1, 2]": ["1", "2"],
    """parsed_list($$['fiction', "it's, so", None]$$)""": ["fiction", "it's, so"],
    """parsed_list('["drama", null, " x "]')""": ["drama", "x"],
    "parsed_list('[]')": [],
    "NULL": None,
    "[id('2.0'), 'web 2.0']": ["2.0", "web 2.0"],
}


def test_lists(db: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    assert values_of(db, tmp_path, STORY, "topics", LISTS) == LISTS


NO_LISTS = {
    "$$['fiction', 'drama']$$": r"use words\(topics, '\|'\) .* or parsed_list\(topics\)",
    "words($$['fiction', 'drama']$$, ',')": r"is a piece of a list; use parsed_list\(x\)",
    "parsed_list('fiction, drama')": r"is not an id\n.*parsed_list\(fiction, drama\)",
    'parsed_list(\'["a", ["b"]]\')': "is a piece of a list",
    'parsed_list(\'[{"name": "x"}]\')': "is a structure or a list",
    "parsed_list($$['a', 'b', ...]$$)": r"is not an id\n.*parsed_list",
    "['a', 'NULL']": "stands for a missing value",
    "[{'a': 1}]": "is a list of STRUCT",
    "[['a']]": r"is a list of VARCHAR\[\]",
    "json('[\"a\"]')": r"of type JSON; use words",
    "[1.5]": "is a list of DECIMAL",
}


def test_what_is_no_list_is_refused(db: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    check_refusals(db, tmp_path, STORY, "topics", NO_LISTS)


OTHERS = [
    ("dwell_s", "'1.5'", 1.5), ("dwell_s", "number('1.234,5', decimal := ',', thousands := '.')", 1234.5), ("dwell_s", "'1e2'", 100),
    ("dwell_s", "''", None), ("claps", "'3'", 3), ("claps", "'3.0'", 3), ("claps", "3.0::DOUBLE", 3), ("claps", "' 3 '", 3),
]  # fmt: skip


@pytest.mark.parametrize(("name", "sql", "value"), OTHERS)
def test_numbers(one_event: One, name: str, sql: str, value: object) -> None:
    assert one_event(**{name: sql})[name] == value


NO_NUMBERS = [
    ("dwell_s", "'1,5'", r"dwell_s is not a number; write number\(x, decimal := ','\)"), ("dwell_s", "'nan'", "is not a number"),
    ("dwell_s", "'1e99'", "is not a number"), ("dwell_s", "-1", "bad_dwell_s"), ("dwell_s", "'inf'::DOUBLE", "is not a number"),
    ("dwell_s", "number('1.2.3', thousands := '.', decimal := ',')", r"`number\(1\.2\.3\)`"), ("claps", "'10.6'", "is not a whole number"),
    ("claps", "10.6::DOUBLE", "is not a whole number"), ("claps", "'3000000000'", "is not a whole number"), ("claps", "DATE '2024-01-01'", "of type DATE"),
    ("type", "'love'", r"type is none of impression, open, .*; translate it with CASE\n.*`user_id=u1, type=love`"), ("type", "3", "of type INTEGER, but type is text"), ("rating", "3", "yields rating, which events does not have; it has event_id"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "sql", "message"), NO_NUMBERS)
def test_other_cells_that_mean_nothing_are_refused(one_event: One, name: str, sql: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        one_event(**{name: sql})


def test_truth_text_and_languages(one_story: One) -> None:
    story = one_story(members_only="'Yes'", title="' Hello, \"world\"\n'", language="' pt_BR '", TOPICS="['x']")
    assert (story["members_only"], story["title"], story["language"]) == (True, ' Hello, "world"\n', "pt_BR")
    assert story["topics"] == ["x"]


@pytest.mark.parametrize(
    ("name", "sql", "message"),
    [
        ("members_only", "'maybe'", "members_only is not true or false"),
        ("language", "'English'", r"malformed_language\n.*language=English"),
        ("visibility", "'secret'", "visibility is none of `public`"),
        ("Story_ID", "'s2'", "yields Story_ID_1, which stories does not have"),
    ],
)
def test_stories_are_checked_too(one_story: One, name: str, sql: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        one_story(**{name: sql})


def test_a_missing_column_is_named_with_its_meaning(tmp_path: Path) -> None:
    with pytest.raises(
        BadInput,
        match=r"events does not yield occurred_at \(when it happened.*write NULL AS occurred_at and say with --as-of",
    ):
        imported(
            put(tmp_path / "in"),
            f"CREATE VIEW events AS SELECT 'u' AS user_id, 's' AS story_id, 'read' AS type; {STORIES.replace('min(occurred_at)', 'now()')}",
        )


CLICKS = "user,item,ts\nu1,s1,1769882400000\nNULL,s1,1769882400000\nNA,s1,1769882400000\nnull,s2,1769882400000\nNULL,s3,1769882400\n"
MS = "user AS user_id, item AS story_id, 'read' AS type, unix_ms(ts) AS occurred_at"


def test_one_refused_row_refuses_all_with_each_reason_its_count_and_first_lines(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", clicks__csv=CLICKS + "\\N,s1,1769882400000\n")
    with pytest.raises(BadInput) as refused:
        imported(folder, events_of("csv('clicks.csv')", MS))
    told = str(refused.value)
    assert "events: 5 of 6 rows: user_id stands for a missing value" in told
    for line in (3, 4, 5):
        assert f"clicks.csv, line {line}: `N" in told.replace("`null", "`NULL")
    assert "line 6" not in told
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_what_stands_for_null_is_declared(tmp_path: Path) -> None:
    folder = put(
        tmp_path / "in",
        posts__csv="id,writer,day\ns1,\\N,2026-01-31\ns2,N/A,2026-01-31\ns3,,2026-01-31\ns4,ann,2026-01-31\n",
    )
    stories = "CREATE VIEW stories AS SELECT id AS story_id, writer AS author_id, day AS published_at FROM csv('posts.csv', null := ['\\N', 'N/A'])"
    events = (
        "CREATE VIEW events AS SELECT 'u' AS user_id, 's1' AS story_id, 'read' AS type, '2026-02-01' AS occurred_at"
    )
    imported(folder, f"{stories}; {events}")
    assert [story["author_id"] for story in rows(folder, "stories")] == [None, None, None, "ann"]


def test_the_sql_leaves_out_what_should_be_left_out(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", clicks__csv=CLICKS)
    sql = events_of("csv('clicks.csv', null := ['NULL', 'NA', 'null']) WHERE user IS NOT NULL", MS)
    assert imported(folder, sql).rows == {"stories": 1, "events": 1}


def test_a_dry_run_shows_rows_and_refusals_and_writes_nothing(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", clicks__csv=CLICKS)
    report = imported(folder, events_of("csv('clicks.csv')", MS), dry_run=True)
    stories, events = report.datasets.values()
    assert (events.rows, events.users, events.first, events.last) == (5, 1, AT, AT)
    assert "events: 4 of 5 rows: user_id stands for a missing value" in report.refusal()
    assert "s1" in report.previews["events"]
    assert stories.rows == 3
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_float_ids_join_whole_ones_of_another_file(tmp_path: Path) -> None:
    """One null makes pandas write a column of whole numbers as floats."""
    folder = put(tmp_path / "in")
    pq.write_table(pa.table({"user": [10.0, None, 2.0**53 - 1], "item": [1, 2, 3]}), folder / "floats.parquet")
    pq.write_table(pa.table({"user": [10, 2**62 + 1], "item": [4, 5]}), folder / "wholes.parquet")
    columns = "user AS user_id, item AS story_id, 'read' AS type, '2026-01-31' AS occurred_at"
    imported(folder, events_of("parquet(['floats.parquet', 'wholes.parquet']) WHERE user IS NOT NULL", columns))
    found = [event["user_id"] for event in rows(folder, "events")]
    assert found == ["10", "9007199254740991", "10", "4611686018427387905"]


def test_parquet_text_without_its_mark_is_decoded_or_refused(tmp_path: Path) -> None:
    folder = put(tmp_path / "in")
    columns = "user AS user_id, item AS story_id, 'read' AS type, '2026-01-31' AS occurred_at"
    pq.write_table(pa.table({"user": ["Schön".encode(), b"u2"], "item": [1, 2]}), folder / "a.parquet")
    pq.write_table(pa.table({"user": [b"u1", b"Sch\xf6n"], "item": [1, 2]}), folder / "b.parquet")
    with pytest.raises(BadInput, match=r"b\.parquet, row 2: 'user' holds bytes that are not UTF-8"):
        imported(folder, events_of("parquet('b.parquet')", columns))
    imported(folder, events_of("parquet('a.parquet')", columns))
    assert [event["user_id"] for event in rows(folder, "events")] == ["Schön", "u2"]


def test_parquet_names_are_literal_and_paths_no_partitions(tmp_path: Path) -> None:
    """`ev1.parquet`, `eva.parquet` lie beside them; the folder `user=alice` says nothing about users."""
    folder = put(tmp_path / "user=alice" / "in")
    for other in ("ev1.parquet", "eva.parquet"):
        pq.write_table(pa.table({"user": ["wrong"]}), folder / other)
    names = (
        "ev[1].parquet",
        "ev*.parquet",
        "ev{a,b}.parquet",
        "dt=2020-01-01.pq",
        "000000_0",
        "a b:c %.PARQUET",
        "it's.parquet",
    )
    for name in names:
        pq.write_table(pa.table({"user": [name]}), folder / name)
    columns = "user AS user_id, 's1' AS story_id, 'read' AS type, '2026-01-31' AS occurred_at"
    listed = ", ".join("'" + name.replace("'", "''") + "'" for name in names)
    imported(folder, events_of(f"parquet([{listed}])", columns))
    assert sorted(event["user_id"] for event in rows(folder, "events")) == sorted(names)


def test_two_parquet_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    folder = put(tmp_path / "in")
    pq.write_table(
        pa.Table.from_arrays([pa.array(["u"]), pa.array(["v"])], names=["user", "User"]), folder / "a.parquet"
    )
    with pytest.raises(BadInput, match=r"a\.parquet: two columns are called 'user' and 'User'"):
        imported(folder, events_of("parquet('a.parquet')"))
    pq.write_table(pa.table({"file_row_number": ["x"]}), folder / "a.parquet")
    with pytest.raises(BadInput, match=r"a\.parquet: Rex needs the name 'file_row_number' for itself"):
        imported(folder, events_of("parquet('a.parquet')"))


def test_json_lines_give_their_cells_as_text(tmp_path: Path) -> None:
    lines = '{"u": 12345678901234567890123, "i": "s1", "t": 1769882400, "tags": ["a", null]}\n\n{"u": "u2", "i": "s2", "t": 1769882400}\n'
    folder = put(tmp_path / "in", a__jsonl=lines)
    columns = "json->>'$.u' AS user_id, json->>'$.i' AS story_id, 'read' AS type, unix_s(json->>'$.t') AS occurred_at"
    imported(folder, events_of("jsonl('a.jsonl')", columns))
    assert [event["user_id"] for event in rows(folder, "events")] == ["12345678901234567890123", "u2"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1}\n{"a": \n', r"a\.jsonl: no JSON value of its own in line 2 \(`{\"a\": `\)"),
        ("[\n{}\n]\n", r"line 1 \(`\[`\), line 3 .*looks like one JSON array"),
    ],
)
def test_lines_that_are_no_json_are_refused(tmp_path: Path, content: str, message: str) -> None:
    folder = put(tmp_path / "in", a__jsonl=content)
    with pytest.raises(BadInput, match=message):
        imported(folder, events_of("jsonl('a.jsonl')"))


def test_one_cell_may_become_several_rows(tmp_path: Path) -> None:
    """Impression lists: one impression each, and an open where it ends in 1."""
    folder = put(tmp_path / "in", behaviors__tsv="1\tU1\t11/15/2019 8:55:22 AM\tN1 N2\tN55689-1 N35729-0\n")
    sql = f"""CREATE VIEW shown AS SELECT user, time(ts, '%m/%d/%Y %I:%M:%S %p') AS at_time, unnest(words(list, ' ')) AS cell, file, line
          FROM tsv('behaviors.tsv', header := false, columns := ['id', 'user', 'ts', 'history', 'list']);
        CREATE VIEW events AS SELECT user AS user_id, split_part(cell, '-', 1) AS story_id, 'impression' AS type, at_time AS occurred_at, file, line FROM shown
          UNION ALL BY NAME SELECT user AS user_id, split_part(cell, '-', 1) AS story_id, 'open' AS type, at_time AS occurred_at, file, line FROM shown WHERE cell LIKE '%-1'; {STORIES}"""
    imported(folder, sql)
    assert sorted((event["story_id"], event["type"]) for event in rows(folder, "events")) == [
        ("N35729", "impression"), ("N55689", "impression"), ("N55689", "open"),
    ]  # fmt: skip


def test_a_view_that_says_something_else_each_time_is_refused(tmp_path: Path) -> None:
    select = ", ".join(f"{sql} AS {name}" for name, sql in EVENT.items())
    sql = f"CREATE VIEW events AS SELECT {select} FROM range(10000) WHERE random() < 0.5; {STORIES}"
    with pytest.raises(BadInput, match="when asked again"):
        imported(put(tmp_path / "in"), sql)


def test_rows_come_in_the_order_of_the_view_and_events_in_that_of_their_times(tmp_path: Path) -> None:
    """More rows than DuckDB hands out at once: what it gives to Arrow from several threads has no order of its own."""
    count = 150_000
    folder = put(tmp_path / "in")
    clicks = "".join(f"u{i},s{i % 7},{1_769_000_000 + i * 7919 % 86_399}\n" for i in range(count))
    put(folder, a__csv="user,item,ts\n" + clicks, b__csv="id\n" + "".join(f"s{i}\n" for i in range(count)))
    stories = "CREATE VIEW stories AS SELECT id AS story_id, '2026-01-01' AS published_at FROM csv('b.csv')"
    columns = "user AS user_id, item AS story_id, 'read' AS type, unix_s(ts) AS occurred_at"
    events = events_of("csv('a.csv')", columns).split(";")[0]
    imported(folder, f"{events}; {stories}")
    lake = tmp_path / "lake" / "raw"
    assert [pq.ParquetFile(path).metadata.num_rows for path in sorted((lake / "stories").iterdir())] == [count]
    found = pq.read_table(lake / "stories", columns=["story_id"])["story_id"].to_pylist()
    assert found == [f"s{i}" for i in range(count)]
    for day in sorted((lake / "events").iterdir()):
        rows_of_day = pq.ParquetFile(next(day.iterdir())).read(["user_id", "occurred_at"])
        times = rows_of_day["occurred_at"].to_pylist()
        order = [(at, int(user[1:])) for at, user in zip(times, rows_of_day["user_id"].to_pylist(), strict=True)]
        assert order == sorted(order), day


def test_rows_are_numbered_as_they_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbered only once all of them are at hand, a large file would lie on the disk once more."""
    store, plans = typing_of_rows._store, []

    def explained(db: duckdb.DuckDBPyConnection, query: str, to: Path) -> None:
        plans.append(str(db.execute(f"EXPLAIN {query}").fetchall()))
        store(db, query, to)

    monkeypatch.setattr(typing_of_rows, "_store", explained)
    imported(put(tmp_path / "in", a__csv="user,item,ts\nu1,s1,2019-04-01\n"), events_of("csv('a.csv')"))
    of_events = plans[-1]
    assert "Streaming Window" in of_events
