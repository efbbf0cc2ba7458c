"""What is wrong with the files of a lake is said before Spark opens any; what is merely different is read."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from batch.io import MISFIT, read_raw
from features.datasets import dataset
from features.errors import BadInput
from tests.lakes import NOON, event, story, write_lake, write_rows


def _write(lake: Path, name: str, table: pa.Table, file: str = "part-00000.parquet") -> Path:
    path = lake / "raw" / name / file
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def test_a_missing_lake_is_bad_input(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"There is no lake at .*nowhere"):
        read_raw(spark, tmp_path / "nowhere", dataset("stories"))


def test_an_empty_needed_dataset_is_bad_input_and_an_optional_one_is_empty(spark: SparkSession, tmp_path: Path) -> None:
    lake = write_lake(tmp_path, stories=[story("s")])
    with pytest.raises(BadInput, match=r"Dataset events in .* has no rows; .*user_id, story_id, type, occurred_at"):
        read_raw(spark, lake, dataset("events"))
    assert read_raw(spark, lake, dataset("users")).count() == 0
    write_rows(lake, "users", [])  # a file without rows says as little as no file
    assert read_raw(spark, lake, dataset("users")).count() == 0


def test_a_wrong_column_type_names_file_column_found_and_expected(spark: SparkSession, tmp_path: Path) -> None:
    path = _write(tmp_path, "stories", pa.table({"story_id": [1], "published_at": [NOON]}))
    with pytest.raises(BadInput, match=f"{path}: column 'story_id' has type int64, but .* expects string"):
        read_raw(spark, tmp_path, dataset("stories"))


def test_a_wrong_type_in_one_of_many_files_is_found(spark: SparkSession, tmp_path: Path) -> None:
    write_rows(tmp_path, "stories", [story("good")])
    bad = _write(
        tmp_path, "stories", pa.table({"story_id": ["s"], "published_at": ["2026-01-01"]}), "part-00001.parquet"
    )
    with pytest.raises(BadInput, match=f"{bad}: column 'published_at' has type string"):
        read_raw(spark, tmp_path, dataset("stories"))


def test_a_missing_required_column_is_named(spark: SparkSession, tmp_path: Path) -> None:
    _write(tmp_path, "stories", pa.table({"story_id": ["s"]}))
    with pytest.raises(BadInput, match="has no column 'published_at'"):
        read_raw(spark, tmp_path, dataset("stories"))


@pytest.mark.parametrize("content", [b"", b"this is no Parquet", None], ids=["empty", "text", "cut off"])
def test_a_corrupt_file_is_named(spark: SparkSession, tmp_path: Path, content: bytes | None) -> None:
    path = write_rows(tmp_path, "stories", [story("s")])
    path.write_bytes(path.read_bytes()[:-20] if content is None else content)
    with pytest.raises(BadInput, match=f"{path} .*is not a readable Parquet file"):
        read_raw(spark, tmp_path, dataset("stories"))


def test_what_other_tools_write_is_read_as_declared(spark: SparkSession, tmp_path: Path) -> None:
    """Nanoseconds, no zone, seconds; large, dictionary and untyped columns; wide integers; and all of it in one dataset."""
    naive = NOON.replace(tzinfo=None)
    for number, kind in enumerate(
        (pa.timestamp("ns"), pa.timestamp("us"), pa.timestamp("s", tz="UTC"), pa.timestamp("ns", tz="UTC"))
    ):
        columns = {
            "user_id": pa.array(["u"], pa.large_string()),
            "story_id": pa.array(["s"]).dictionary_encode(),
            "type": ["clap"],
            "occurred_at": pa.array([naive], pa.timestamp("us")).cast(pa.timestamp(kind.unit)).cast(kind),
            "claps": pa.array([3], pa.int64()),
            "dwell_s": pa.array([1.5], pa.float64()),
            "source": pa.nulls(1),
        }
        _write(tmp_path, "events", pa.table(columns), f"dt=2026-01-31/part-{number}.parquet")
    rows = (
        read_raw(spark, tmp_path, dataset("events"))
        .selectExpr("unix_micros(occurred_at) at", "user_id", "story_id", "claps", "dwell_s", "source")
        .collect()
    )
    at = int(NOON.timestamp() * 1_000_000)
    assert [tuple(row) for row in rows] == [(at, "u", "s", 3, 1.5, None)] * 4


def test_a_number_too_wide_for_its_column_is_marked_not_cut(spark: SparkSession, tmp_path: Path) -> None:
    row = event("u", "clap", "s", NOON)
    _write(tmp_path, "events", pa.table({**{k: [v] for k, v in row.items()}, "claps": pa.array([1 << 40], pa.int64())}))
    read = read_raw(spark, tmp_path, dataset("events")).select("claps", MISFIT).first()
    assert tuple(read or ()) == (None, "number_out_of_range")


def test_files_that_are_not_data_are_left_alone(spark: SparkSession, tmp_path: Path) -> None:
    write_rows(tmp_path, "stories", [story("s")])
    (tmp_path / "raw" / "stories" / "_half.parquet").write_bytes(b"being written")
    assert read_raw(spark, tmp_path, dataset("stories")).count() == 1


def test_times_are_utc_whatever_the_zone_of_the_file(spark: SparkSession, tmp_path: Path) -> None:
    there = pa.array([NOON], pa.timestamp("us", tz="Asia/Tokyo"))  # 21:00 on clocks there
    table = pa.table({"story_id": ["s"], "published_at": there})
    _write(tmp_path, "stories", table)
    row = read_raw(spark, tmp_path, dataset("stories")).selectExpr("date_format(published_at, 'HH:mm')").first()
    assert tuple(row or ()) == ("12:00",)
