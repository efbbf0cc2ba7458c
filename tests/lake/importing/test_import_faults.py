"""What may happen to files and disks while an import runs leaves nothing behind, and is said in a sentence."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import BadInput
from lake.importing import records as records_module
from lake.importing.sql_import import import_sql
from lake.writer import write_events
from rex.local.faults import refusal
from tests.lake.importing.small_files import NOW, events_of, imported, kept_whole, put, rows

HEADER = "user,item,ts\n"
CLICK = "u1,s1,2024-05-01T10:00:00Z\n"


def test_sql_that_needs_more_memory_than_there_is_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lake.dialect.MEMORY", "100MB")
    folder = put(tmp_path / "in", a__csv=HEADER + CLICK)
    greedy = "SELECT length(string_agg(repeat('x', 1000000), '')) FROM range(300);"
    with pytest.raises(duckdb.OutOfMemoryException) as raised:
        imported(folder, events_of("csv('a.csv')") + greedy)
    assert str(refusal(raised.value)).startswith("DuckDB needs more memory than it may take")


def test_a_folder_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = put(tmp_path / "in" / "days", a__csv=HEADER + CLICK).parent
    put(tmp_path / "elsewhere", b__csv=HEADER + CLICK.replace("u1", "u2"))
    (folder / "days" / "linked").symlink_to(tmp_path / "elsewhere")
    imported(folder, events_of("csv('days')"))
    assert {row["user_id"] for row in rows(folder, "events")} == {"u1", "u2"}
    (folder / "days" / "gone.csv").symlink_to(tmp_path / "nowhere")
    with pytest.raises(BadInput, match=r"days/gone\.csv is a symbolic link to .*nowhere, which does not exist"):
        imported(folder, events_of("csv('days')"), dry_run=True)


def test_a_file_that_is_still_written_to_is_refused(tmp_path: Path) -> None:
    folder, done = put(tmp_path / "in", a__csv=HEADER + 1000 * CLICK), threading.Event()

    def write() -> None:
        while not done.wait(0.001):
            with (folder / "a.csv").open("a") as file:
                file.write(CLICK[: len(CLICK) // 2])  # and now and then half a line is all that is there
                file.flush()
                file.write(CLICK[len(CLICK) // 2 :])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with pytest.raises(BadInput, match=r"a\.csv has changed while it was read"):
            imported(folder, events_of("csv('a.csv')"))
    finally:
        done.set()
        writer.join()
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_parquet_file_that_is_replaced_before_the_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB reads it itself, so it must stay until all is written; it is replaced when the writing begins."""
    folder = put(tmp_path / "in")
    table = pa.table({"user": ["u1"], "item": ["s1"], "ts": ["2024-05-01"]})
    pq.write_table(table, folder / "a.parquet")

    def replace_and_write(*args: Any) -> int:
        pq.write_table(table, folder / "new")
        (folder / "new").replace(folder / "a.parquet")
        return write_events(*args)

    monkeypatch.setattr("lake.importing.sql_import.write_events", replace_and_write)
    with pytest.raises(BadInput, match=r"a\.parquet has changed while it was read"):
        imported(folder, events_of("parquet('a.parquet')"))
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("kind", ["text", "Parquet"])
def test_a_full_disk_is_said_and_leaves_nothing(
    small_disk: Path, tmp_path_factory: pytest.TempPathFactory, kind: str
) -> None:
    folder = put(tmp_path_factory.mktemp("files"))
    users = [os.urandom(16).hex() for _ in range(80_000)]
    if kind == "text":
        put(folder, a__csv=HEADER + "".join(f"{user},s1,2024-05-01\n" for user in users))
        call = "csv('a.csv')"
    else:
        pq.write_table(
            pa.table({"user": users, "item": ["s1"] * len(users), "ts": ["2024-05-01"] * len(users)}),
            folder / "a.parquet",
        )
        call = "parquet('a.parquet')"
    put(folder, import__sql=events_of(call))
    with pytest.raises(Exception, match="No space left") as raised:
        import_sql(folder / "import.sql", small_disk / "lake", now=NOW)
    assert "is full" in str(refusal(raised.value))
    assert list(small_disk.iterdir()) == []


def test_a_header_alone_is_reported_and_no_rows_at_all_are_refused(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", a__csv=HEADER + CLICK, b__csv=HEADER)
    with pytest.raises(BadInput, match="the view stories yields no rows, and a lake needs some"):
        imported(folder, events_of("csv('b.csv')"))
    assert imported(folder, events_of("csv(['a.csv', 'b.csv'])")).notes == ("b.csv has no rows",)


def test_a_title_of_a_megabyte_comes_in(tmp_path: Path) -> None:
    title = "t, " * 350_000
    folder = put(tmp_path / "in", a__csv=f'id,title\ns1,"{title}"\n')
    sql = """CREATE VIEW stories AS SELECT id AS story_id, title, '2024-05-01' AS published_at FROM csv('a.csv');
        CREATE VIEW events AS SELECT 'u1' AS user_id, 's1' AS story_id, 'read' AS type, '2024-05-02' AS occurred_at"""
    imported(folder, sql)
    assert [story["title"] for story in rows(folder, "stories")] == [title]


def test_an_id_of_129_bytes_is_refused_with_its_line(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", a__csv=HEADER + CLICK + CLICK.replace("u1", "é" * 64 + "x"))
    with pytest.raises(BadInput, match=r"events: 1 of 2 rows: malformed_user_id\n.*a\.csv, line 3: `user_id=é"):
        imported(folder, events_of("csv('a.csv')"))


def test_a_cast_of_the_sql_that_fails_far_down_is_said_as_one_that_fails_at_once(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", a__csv="user,item,ts\n" + 300_000 * "u1,s1,1700000000\n" + "u1,s1,yesterday\n")
    columns = "user AS user_id, item AS story_id, 'read' AS type, to_timestamp(ts::BIGINT) AS occurred_at"
    with pytest.raises(BadInput, match=r"import\.sql, line 1: the view (events|stories) cannot be run: .*'yesterday'"):
        imported(folder, events_of("csv('a.csv')", columns))


def test_a_quote_that_is_never_closed_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records_module, "MAX_CELL", 10_000)
    folder = put(tmp_path / "in", a__csv=HEADER + '"' + 1000 * CLICK)
    with pytest.raises(BadInput, match=r"a\.csv, line 2: a quote that opens here is never closed"):
        imported(folder, events_of("csv('a.csv', multiline := true)"))


def test_one_id_with_two_contents_is_refused(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", a__csv="id,user,item,ts\ne1,u1,s1,2024-05-01\ne1,u1,s2,2024-05-01\n")
    columns = "id AS event_id, user AS user_id, item AS story_id, 'read' AS type, ts AS occurred_at"
    sql, said = (
        events_of("csv('a.csv')", columns),
        r"2 of 2 rows: rows of one user_id and event_id contradict each other.*\n.*line 2.*\n.*line 3",
    )
    assert re.search(said, imported(folder, sql, dry_run=True).refusal())
    with pytest.raises(BadInput, match=said):
        imported(folder, sql)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_an_event_about_an_unknown_story_is_refused_with_its_line(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", a__csv=HEADER + CLICK, b__csv="id,day\ns2,2024-01-01\n")
    sql = (
        events_of("csv('a.csv')").split(";")[0]
        + "; CREATE VIEW stories AS SELECT id AS story_id, day AS published_at FROM csv('b.csv')"
    )
    with pytest.raises(
        BadInput,
        match=r"events: 1 of 1 rows: story_id names no story of the view stories; .*\n.*a\.csv, line 2: `user_id=u1, story_id=s1`",
    ):
        imported(folder, sql)


def test_rows_without_an_event_id_are_never_the_same_and_repeats_are_kept(tmp_path: Path) -> None:
    clicks = "e1,u1,s1,2024-05-01\n" * 2 + ",u1,s1,2024-05-01\n,u1,s2,2024-05-01\n"
    folder = put(tmp_path / "in", a__csv=f"id,user,item,ts\n{clicks}")
    columns = "id AS event_id, user AS user_id, item AS story_id, 'read' AS type, ts AS occurred_at"
    assert imported(folder, events_of("csv('a.csv')", columns)).datasets["events"].refused == {}
    assert sorted(str(row["event_id"]) for row in rows(folder, "events")) == ["None", "None", "e1", "e1"]
    assert kept_whole(folder)
