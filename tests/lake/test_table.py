"""Importing any table by a mapping file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import BadInput
from lake.table import import_table
from tests.lake.conftest import open_lake

MAPPING = """
[[table]]
file = "posts.csv"
dataset = "stories"
columns = { story_id = "post", author_id = "by", published_at = "at", topics = "tags", members_only = "paid", reading_time_s = "secs" }
lists = { topics = "|" }

[[table]]
file = "data/clicks.csv"
dataset = "events"
columns = { user_id = "reader", story_id = "post", type = "action", occurred_at = "ts", claps = "n" }
constants = { source = "email" }
times = { occurred_at = "unix_ms" }
values = { type = { view = "read", like = "clap" } }
"""
POSTS = """post,by,at,tags,paid,secs
p1,ann,2026-01-31T18:00:00+02:00,art| music |,true,61.5
p2,,2026-01-31 18:00:00,,false,
"""
CLICKS = """reader,post,action,ts,n
u2,p1,like,1769900000500,3
u1,p1,view,1769800000000,
"""


def write(directory: Path, mapping: str = MAPPING, posts: str = POSTS, clicks: str = CLICKS) -> Path:
    (directory / "in" / "data").mkdir(parents=True)
    (directory / "in" / "posts.csv").write_text(posts)
    (directory / "in" / "data" / "clicks.csv").write_text(clicks)
    (directory / "in" / "map.toml").write_text(mapping)
    return directory / "in" / "map.toml"


def test_columns_times_lists_values_and_constants_are_mapped(tmp_path: Path) -> None:
    assert import_table(write(tmp_path), tmp_path / "lake").rows == {"stories": 2, "events": 2}
    db = open_lake(tmp_path / "lake")
    # 18:00 at +02:00 is 16:00 UTC; without a zone it is UTC as written.
    assert db.execute("SELECT * REPLACE (published_at::VARCHAR AS published_at) FROM stories").fetchall() == [
        ("p1", "ann", ["art", "music"], "2026-01-31 16:00:00+00", 61.5, True),
        ("p2", None, None, "2026-01-31 18:00:00+00", None, False),
    ]
    # 1769800000 s is 2026-01-30 19:06:40 UTC; events are sorted by time into their days.
    assert db.execute(
        "SELECT user_id, type, occurred_at::VARCHAR, claps, source, dt::VARCHAR FROM events"
    ).fetchall() == [
        ("u1", "read", "2026-01-30 19:06:40+00", None, "email", "2026-01-30"),
        ("u2", "clap", "2026-01-31 22:53:20.5+00", 3, "email", "2026-01-31"),
    ]


def test_parquet_with_its_own_times_and_lists_needs_no_hints(tmp_path: Path) -> None:
    at = datetime(2026, 1, 31, 18, tzinfo=UTC)
    table = pa.table({"id": [2**62 + 1], "at": [at], "tags": [["art", "music"]]})
    pq.write_table(table, tmp_path / "posts.parquet")
    columns = 'columns = { story_id = "id", published_at = "at", topics = "tags" }'
    (tmp_path / "map.toml").write_text(f'[[table]]\nfile = "posts.parquet"\ndataset = "stories"\n{columns}\n')
    import_table(tmp_path / "map.toml", tmp_path / "lake")
    written = pq.read_table(tmp_path / "lake/raw/stories").to_pylist()
    assert written == [{"story_id": "4611686018427387905", "topics": ["art", "music"], "published_at": at}]


def test_stories_are_derived_from_events(tmp_path: Path) -> None:
    events_only = "derive_stories = true\n" + MAPPING[MAPPING.index("[[table]]", 5) :]
    summary = import_table(write(tmp_path, events_only), tmp_path / "lake")
    assert summary.rows == {"events": 2, "stories": 1}
    stories = open_lake(tmp_path / "lake").execute("SELECT story_id, published_at::VARCHAR FROM stories").fetchall()
    assert stories == [("p1", "2026-01-30 19:06:40+00")]


def test_described_stories_are_kept_and_only_missing_ones_derived(tmp_path: Path) -> None:
    mapping = write(tmp_path, "derive_stories = true\n" + MAPPING, clicks=CLICKS + "u1,p9,view,1769800000000,\n")
    assert import_table(mapping, tmp_path / "lake").rows == {"stories": 3, "events": 3}
    rows = open_lake(tmp_path / "lake").execute("SELECT story_id, author_id FROM stories ORDER BY 1").fetchall()
    assert rows == [("p1", "ann"), ("p2", None), ("p9", None)]


def test_another_delimiter_may_be_named(tmp_path: Path) -> None:
    mapping = MAPPING.replace('dataset = "stories"', 'dataset = "stories"\ndelimiter = ";"')
    assert import_table(write(tmp_path, mapping, posts=POSTS.replace(",", ";")), tmp_path / "lake").rows["stories"] == 2


def test_several_tables_may_fill_one_dataset(tmp_path: Path) -> None:
    events = MAPPING[MAPPING.index("[[table]]", 5) :]
    assert import_table(write(tmp_path, MAPPING + events), tmp_path / "lake").rows == {"stories": 2, "events": 4}
    assert open_lake(tmp_path / "lake").execute("SELECT count(*) FROM events").fetchone() == (4,)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"posts.csv"', '"gone.csv"', r"There is no file .*gone\.csv"),
        ('"by"', '"writer"', r"posts\.csv has no column 'writer'; it has post, by"),
        ("author_id", "writer_id", "dataset stories has no column 'writer_id'"),
        ('published_at = "at", ', "", "dataset stories needs 'published_at'"),
        ("claps =", "dt =", "dataset events has no column 'dt'"),
        ('"unix_ms"', '"fortnights"', r"table\.1\.times\.occurred_at: Input should be"),
        ('"unix_ms"', '"unix_s"', r"clicks\.csv, row 2: 'ts' '1769900000500' is not a number of seconds"),
        ('like = "clap"', 'love = "clap"', r"clicks\.csv, row 2: 'action' 'like' is not one of view, love"),
        ('dataset = "stories"', 'dataset = "tales"', r"table\.0\.dataset"),
        ("times = {", "times = { received_at = 'iso',", "'received_at' is described but not mapped"),
        ('source = "email"', 'user_id = "email"', "'user_id' is both in"),
        ("[[table]]", "[[table", "is not a readable TOML file"),
        ("file =", "path =", r"table\.0\.file: Field required"),
    ],
)
def test_bad_mappings_are_refused_and_leave_nothing(tmp_path: Path, old: str, new: str, message: str) -> None:
    mapping = write(tmp_path, MAPPING.replace(old, new))
    with pytest.raises(BadInput, match=message):
        import_table(mapping, tmp_path / "lake")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("posts", "clicks", "message"),
    [
        (
            POSTS.replace("2026-01-31 18:00:00", "yesterday"),
            CLICKS,
            r"posts\.csv, row 3: 'at' 'yesterday' is not an ISO time",
        ),
        (POSTS.replace("61.5", "long"), CLICKS, "row 2: 'secs' 'long' is not a value of type float"),
        (POSTS, CLICKS.replace("u1,", ","), "row 3: 'reader' is empty, but user_id is mandatory"),
        (POSTS, CLICKS.replace("1769900000500", "nan"), "row 2: 'ts' 'nan' is not a number of milliseconds"),
        (POSTS, CLICKS.splitlines()[0] + "\n", "has no rows"),
        (POSTS, CLICKS + 'u3,"p1,view,1\n', "is not a readable CSV file"),
    ],
)
def test_bad_cells_are_named_by_row_and_value_and_leave_nothing(
    tmp_path: Path, posts: str, clicks: str, message: str
) -> None:
    mapping = write(tmp_path, posts=posts, clicks=clicks)
    with pytest.raises(BadInput, match=message):
        import_table(mapping, tmp_path / "lake")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_mapping_without_stories_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="fills no stories"):
        import_table(write(tmp_path, MAPPING[MAPPING.index("[[table]]", 5) :]), tmp_path / "lake")


def test_a_missing_mapping_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="There is no mapping file"):
        import_table(tmp_path / "map.toml", tmp_path / "lake")


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "posts.parquet").write_text("not parquet")
    columns = 'columns = { story_id = "id", published_at = "at" }'
    (tmp_path / "map.toml").write_text(f'[[table]]\nfile = "posts.parquet"\ndataset = "stories"\n{columns}\n')
    with pytest.raises(BadInput, match="is not a readable Parquet file"):
        import_table(tmp_path / "map.toml", tmp_path / "lake")
