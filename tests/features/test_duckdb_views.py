"""Every dataset is a view in its declared form, whatever a lake lacks."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.datasets import ALL
from features.duckdb_views import connect
from features.errors import BadInput
from features.lake_layout import partition_name
from tests.batch.feature_lake import AS_OF, story, write_dataset


def write(path: Path, columns: dict[str, list[object]]) -> None:
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table(columns), path)


def test_an_empty_lake_has_every_view_in_declared_columns_and_types(tmp_path: Path) -> None:
    with connect(tmp_path) as db:
        for name, declared in ALL.items():
            found = db.sql(f"SELECT * FROM {name}").to_arrow_table()
            assert found.num_rows == 0
            assert found.column_names == list(declared.names)
            for column in declared.columns:
                of_list = pa.types.is_list(column.type)  # DuckDB names the entries of a list differently
                assert of_list or found.schema.field(column.name).type == column.type, f"{name}.{column.name}"


def test_missing_columns_are_null(tmp_path: Path) -> None:
    write(tmp_path / "raw" / "stories" / "a.parquet", {"story_id": ["s"], "published_at": [AS_OF]})
    with connect(tmp_path) as db:
        assert db.sql("SELECT story_id, title, published_at::VARCHAR FROM stories").fetchall() == [
            ("s", None, "2026-01-31 00:00:00+00")
        ]


def test_partition_columns_come_from_the_path(tmp_path: Path) -> None:
    write(tmp_path / "raw" / "events" / "dt=2026-01-30" / "a.parquet", {"user_id": ["u"]})
    with connect(tmp_path) as db:
        assert db.sql("SELECT user_id, dt FROM events").fetchall() == [("u", date(2026, 1, 30))]


def test_a_lake_may_mix_partitioned_files_and_flat_ones(tmp_path: Path) -> None:
    events = tmp_path / "raw" / "events"
    write(events / "dt=2026-01-30" / "a.parquet", {"user_id": ["u"]})
    pq.write_table(pa.table({"user_id": ["v"]}), events / "a.parquet")
    with connect(tmp_path) as db:
        rows = db.sql("SELECT user_id, dt FROM events ORDER BY 1").fetchall()
        assert rows == [("u", date(2026, 1, 30)), ("v", None)]


def test_one_as_of_or_all_of_them(tmp_path: Path) -> None:
    for day in range(2):
        write_dataset(tmp_path, "valid_stories", [story(f"s{day}", 1)], AS_OF + timedelta(days=day))
    with connect(tmp_path) as db:
        rows = db.sql("SELECT story_id, epoch(as_of) FROM valid_stories ORDER BY 1").fetchall()
        assert rows == [("s0", AS_OF.timestamp()), ("s1", AS_OF.timestamp() + 86_400)]
    with connect(tmp_path, AS_OF) as db:
        assert db.sql("SELECT story_id FROM valid_stories").fetchall() == [("s0",)]


@pytest.mark.parametrize("name", ["_SUCCESS.parquet", "_temporary/a.parquet", ".hidden.parquet"])
def test_what_is_being_written_is_not_data(name: str, tmp_path: Path) -> None:
    write(tmp_path / "raw" / "stories" / "good" / "a.parquet", {"story_id": ["s"]})
    unfinished = tmp_path / "raw" / "stories" / name
    unfinished.parent.mkdir(exist_ok=True)
    unfinished.write_bytes(b"half")
    with connect(tmp_path) as db:
        assert db.sql("SELECT story_id FROM stories").fetchall() == [("s",)]


def test_a_quote_in_a_path_is_only_a_quote(tmp_path: Path) -> None:
    lake = tmp_path / "it's a lake"
    write(lake / "raw" / "stories" / "a.parquet", {"story_id": ["s"]})
    with connect(lake) as db:
        assert db.sql("SELECT story_id FROM stories").fetchall() == [("s",)]


class TestRefused:
    def test_a_missing_lake(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match=r"There is no lake at .*gone"):
            connect(tmp_path / "gone")

    def test_a_file_that_is_not_parquet(self, tmp_path: Path) -> None:
        (tmp_path / "raw" / "stories").mkdir(parents=True)
        (tmp_path / "raw" / "stories" / "a.parquet").write_bytes(b"not parquet")
        with pytest.raises(BadInput, match=r"a\.parquet \(dataset stories\) is not a readable Parquet file"):
            connect(tmp_path)

    def test_an_as_of_without_a_zone(self) -> None:
        with pytest.raises(BadInput, match="has no time zone"):
            partition_name(datetime(2026, 1, 31))  # noqa: DTZ001


def test_partitions_are_named_in_utc() -> None:
    assert partition_name(datetime(2026, 1, 31, tzinfo=UTC)) == "as_of=2026-01-31T00-00-00Z"
