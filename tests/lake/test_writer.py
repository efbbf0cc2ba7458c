"""Raw datasets are written whole, in the declared form, or not at all."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lake.writer
from features.errors import BadInput
from lake.writer import staged_lake, write_raw

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def stories(n: int, **columns: object) -> pa.Table:
    return pa.table({"story_id": [f"s{i}" for i in range(n)], "published_at": [NOON] * n, **columns})


def test_columns_get_the_declared_order_type_and_nullability(tmp_path: Path) -> None:
    table = pa.table({"published_at": pa.array([NOON], pa.timestamp("ms", "UTC")), "story_id": pa.array([7])})
    assert write_raw(tmp_path, "stories", [table]) == 1
    schema = pq.read_schema(tmp_path / "raw/stories/part-00000.parquet")
    assert schema.names == ["story_id", "published_at"]
    assert schema.field("published_at") == pa.field("published_at", pa.timestamp("us", "UTC"))
    assert schema.field("story_id") == pa.field("story_id", pa.string(), nullable=False)


def test_files_are_zstd_and_bounded_in_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lake.writer, "ROWS_PER_FILE", 4)
    assert write_raw(tmp_path, "stories", [stories(3), stories(6)]) == 9
    files = sorted((tmp_path / "raw/stories").iterdir())
    assert [pq.read_metadata(file).num_rows for file in files] == [3, 4, 2]
    assert pq.read_metadata(files[0]).row_group(0).column(0).compression == "ZSTD"
    assert write_raw(tmp_path, "stories", [stories(1)]) == 1
    assert len(list((tmp_path / "raw/stories").iterdir())) == 4, "a second call adds files"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (stories(1, colour=["red"]), "has no column colour"),
        (stories(1).drop(["published_at"]), "needs a column published_at"),
        (stories(1, reading_time_s=["long"]), "reading_time_s cannot be read as float"),
        (pa.table({"story_id": pa.array([None], pa.string()), "published_at": [NOON]}), "story_id is empty in 1 rows"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path: Path, table: pa.Table, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        write_raw(tmp_path, "stories", [table])


def test_a_lake_appears_when_the_block_ends_and_not_before(tmp_path: Path) -> None:
    with staged_lake(tmp_path / "deep" / "lake") as staging:
        (staging / "file").write_text("x")
        assert not (tmp_path / "deep" / "lake").exists()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["lake"]
    assert (tmp_path / "deep" / "lake" / "file").read_text() == "x"


def test_an_empty_directory_may_become_a_lake_but_a_file_may_not(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with staged_lake(tmp_path / "empty") as staging:
        (staging / "file").touch()
    assert (tmp_path / "empty" / "file").exists()
    with pytest.raises(BadInput, match="is a file"), staged_lake(tmp_path / "empty" / "file"):
        pass


def test_what_came_into_the_target_meanwhile_is_kept(tmp_path: Path) -> None:
    def fill_too_late() -> None:
        with staged_lake(tmp_path / "lake"):
            (tmp_path / "lake").mkdir()
            (tmp_path / "lake" / "other").write_text("theirs")

    with pytest.raises(BadInput, match="is not empty"):
        fill_too_late()
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")] == ["lake", "lake/other"]
