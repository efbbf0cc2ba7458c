"""A raw lake may hold files of any tool, under any name: Spark and DuckDB read the same from them, or both refuse by name."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from batch.io import read_derived, read_raw
from features.datasets import dataset
from features.duckdb_views import connect
from features.errors import BadInput
from features.times import micros
from lake.check import check_lake
from tests.batch.feature_lake import write_partition
from tests.lakes import ANY_NAME, NOON, story, write_lake, write_rows

BINARY = pa.list_(pa.binary())


def _write(lake: Path, file: str, columns: dict[str, Any]) -> None:
    """A file of stories with the id `file`, unless `columns` have one."""
    path = lake / "raw" / "stories" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"story_id": [file], "published_at": [NOON]} | columns)
    pq.write_table(table, path)


def _write_any(lake: Path) -> dict[str, tuple[Any, ...]]:
    """Files of all kinds, one story each; returns story_id → title, author_id, language, topics."""
    nothing = (None, None, None, None)
    named = (
        "a*.parquet",
        "ab.parquet",
        "ev{a,b}.parquet",
        "eva.parquet",
        "c[1].parquet",
        "c1.parquet",
    )
    named += ("x.pq", "x.parq", "x.PARQUET", "000000_0", "day1.parquet/part-0000.parquet")
    named += ("2024-01-01/x.parquet", "day=2024-01-01/x.parquet", "year=2024/month=1/x.parquet")
    for file in named:
        _write(lake, file, {})
    _write(lake, "Case.parquet", {"Title": ["T"], "Author_ID": ["a"]})
    _write(lake, "language=de/part-0.parquet", {})
    _write(lake, "language=de/own.parquet", {"language": ["fr"]})  # the file's own column wins
    _write(lake, "Title=50%25 off%2Fnow/author_id=__HIVE_DEFAULT_PARTITION__/a.parquet", {})
    unmarked = {"title": [b"Sch\xc3\xb6n"], "author_id": [b"a"], "topics": pa.array([[b"\xc3\xb6", b" "]], BINARY)}
    _write(lake, "unmarked.parquet", unmarked)
    _write(lake, "lists.parquet", {"topics": [["", " b ", None, "\tc\n", "  "]]})
    own = {
        "story_id": "polars.parquet",
        "published_at": NOON,
        "title": "T",
        "author_id": "a",
        "language": None,
        "topics": ["t", None],
    }
    kinds = {"title": pl.Categorical, "author_id": pl.Enum(["a"]), "topics": pl.List(pl.Categorical)}
    pl.DataFrame([own], schema_overrides=kinds).write_parquet(lake / "raw" / "stories" / "polars.parquet")
    fixed = pl.DataFrame(
        [own | {"story_id": "polars, fixed.parquet", "title": None, "author_id": None, "topics": ["t", "u"]}]
    )
    fixed = fixed.with_columns(pl.col("topics").cast(pl.Array(pl.String, 2)))
    fixed.write_parquet(lake / "raw" / "stories" / "polars, fixed.parquet")
    _write(lake, "filename.parquet", {"filename": ["x"], "_rex": [1], "file_row_number": ["seven"]})
    outside = lake / "outside"
    (outside / "inner").mkdir(parents=True)
    pq.write_table(pa.table({"story_id": ["linked"], "published_at": [NOON]}), outside / "inner" / "l.parquet")
    (lake / "raw" / "stories" / "linked").symlink_to(outside)
    (outside / "inner" / "round").symlink_to(outside)
    return dict.fromkeys(named, nothing) | {
        "linked": nothing,
        "filename.parquet": nothing,
        "Case.parquet": ("T", "a", None, None),
        "language=de/part-0.parquet": (None, None, "de", None),
        "language=de/own.parquet": (None, None, "fr", None),
        "Title=50%25 off%2Fnow/author_id=__HIVE_DEFAULT_PARTITION__/a.parquet": ("50% off/now", None, None, None),
        "unmarked.parquet": ("Schön", "a", None, ["ö"]),
        "lists.parquet": (None, None, None, ["b", "c"]),
        "polars.parquet": ("T", "a", None, ["t"]),
        "polars, fixed.parquet": (None, None, None, ["t", "u"]),
    }


def test_spark_and_duckdb_read_every_file_once_and_alike(spark: SparkSession, tmp_path: Path) -> None:
    lake = tmp_path / ANY_NAME
    expected = _write_any(lake)
    columns = ("story_id", "title", "author_id", "language", "topics")
    with connect(lake) as db:
        in_duckdb = db.sql(f"SELECT {', '.join(columns)} FROM stories").fetchall()
    assert {row[0]: row[1:] for row in in_duckdb} == expected
    assert len(in_duckdb) == len(expected)
    checked = check_lake(lake, NOON).datasets["stories"]
    assert (checked.files, checked.rows, checked.refused) == (len(expected), len(expected), {})
    in_spark = read_raw(spark, lake, dataset("stories")).select(*columns).collect()
    assert {row[0]: tuple(row)[1:] for row in in_spark} == expected
    assert len(in_spark) == len(expected)


def test_times_in_names_of_folders_mean_the_same_to_both_engines(spark: SparkSession, tmp_path: Path) -> None:
    expected = {}
    for at in ("20240501T101112", "2024-W18-3", "2024-05-01T10:11:12+02:00"):
        _write(tmp_path, f"updated_at={at}/a.parquet", {"story_id": [at]})
        moment = datetime.fromisoformat(at)
        expected[at] = micros(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    with connect(tmp_path) as db:
        assert dict(db.sql("SELECT story_id, epoch_us(updated_at) FROM stories").fetchall()) == expected
    rows = (
        read_raw(spark, tmp_path, dataset("stories")).selectExpr("story_id", "unix_micros(updated_at) AS at").collect()
    )
    assert {row["story_id"]: row["at"] for row in rows} == expected


def test_what_an_engine_cannot_be_told_is_refused_and_the_rest_read(spark: SparkSession, tmp_path: Path) -> None:
    names = ("back\\slash.parquet", "2024-01-01T12:00:00.parquet")
    for name in names:
        _write(tmp_path, name, {})
    assert sorted(
        row[0] for row in read_raw(spark, tmp_path, dataset("stories")).select("story_id").collect()
    ) == sorted(names)
    with connect(tmp_path) as db:
        assert sorted(db.sql("SELECT story_id FROM stories").fetchall()) == sorted((name,) for name in names)
    for name, why in (
        ("back\\slash[1].parquet", "a backslash"),
        ("12:00 [1].parquet", "a colon"),
        ("1:2\\.parquet", "a colon"),
    ):
        _write(tmp_path, name, {})
        said = rf"{re.escape(name)} holds {why} and one of"
        with pytest.raises(BadInput, match=said):
            connect(tmp_path)
        with pytest.raises(BadInput, match=said):
            read_raw(spark, tmp_path, dataset("stories"))
        with pytest.raises(BadInput, match=said):
            check_lake(tmp_path, NOON)
        (tmp_path / "raw" / "stories" / name).unlink()


def test_derived_datasets_are_read_from_a_lake_of_any_name(spark: SparkSession, tmp_path: Path) -> None:
    lake = tmp_path / ANY_NAME
    for number, decoy in enumerate(
        (lake, tmp_path / "it's a b*?x #1 50%41 language=xx")
    ):  # what the pattern would match
        write_lake(decoy, stories=[story(f"s{number}")])
        write_partition(decoy, "valid_users", pa.table({"user_id": [f"u{number}"]}), NOON)
    rows = read_derived(spark, lake, dataset("valid_users"), [NOON]).selectExpr("user_id", "unix_seconds(as_of)")
    assert [tuple(row) for row in rows.collect()] == [("u0", int(NOON.timestamp()))]
    with connect(lake) as db:
        assert db.sql("SELECT user_id, epoch(as_of) FROM valid_users").fetchall() == [("u0", NOON.timestamp())]


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _compressed(path: Path) -> None:
    path.rename(path.with_name("a.parquet.gz")).write_bytes(gzip.compress(b"PAR1"))


def _text(path: Path) -> None:
    path.with_name("README.txt").write_text("what these files are")


def _broken_link(path: Path) -> None:
    path.with_name("b.parquet").symlink_to("nowhere.parquet")


def _brotli(path: Path) -> None:
    pq.write_table(pq.read_table(path), path, compression="brotli")


def _unknown_folder(path: Path) -> None:
    (path.parent / "country=de").mkdir()
    path.rename(path.parent / "country=de" / path.name)


def _unfit_folder(path: Path) -> None:
    (path.parent / "reading_time_s=long").mkdir()
    path.rename(path.parent / "reading_time_s=long" / path.name)


def _columns_of_one_name(*names: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        arrays = [pa.array(["s"]), pa.array([NOON]), *(pa.array(["x"]) for _ in names)]
        pq.write_table(pa.Table.from_arrays(arrays, names=["story_id", "published_at", *names]), path)

    return write


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "0 bytes": (_empty, r"a\.parquet .*is empty \(0 bytes\)"),
    "cut off": (_cut_off, r"a\.parquet .*its end is missing"),
    "gzip": (_compressed, r"a\.parquet\.gz .*compressed as a whole; decompress it with gunzip"),
    "text": (_text, r"README\.txt .*it holds something other than Parquet"),
    "broken link": (_broken_link, r"b\.parquet .*a symbolic link to nowhere\.parquet, which does not exist"),
    "codec": (_brotli, r"a\.parquet: column 'story_id' is compressed with BROTLI, which Spark cannot decompress"),
    "folder": (
        _unknown_folder,
        r"folder 'country=de' stands for a column 'country', which dataset stories does not have",
    ),
    "folder's value": (_unfit_folder, r"reading_time_s=long cannot stand for column 'reading_time_s' of type float"),
    "same name": (
        _columns_of_one_name("title", "title"),
        r"a\.parquet: two columns are called 'title' and 'title'",
    ),
    "same but for case": (_columns_of_one_name("title", "Title"), r"two columns are called 'title' and 'Title'"),
    "Rex's own": (_columns_of_one_name("x", "_rex_file"), r"a\.parquet: Rex needs the name _rex_file for itself"),
    "undeclared": (_columns_of_one_name("x", "X"), r"two columns are called 'x' and 'X'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused_by_name_by_both_engines(spark: SparkSession, tmp_path: Path, case: str) -> None:
    spoil, message = REFUSED[case]
    write_rows(tmp_path, "stories", [story("good")], "good.parquet")
    spoil(write_rows(tmp_path, "stories", [story("s")], "a.parquet"))
    with pytest.raises(BadInput, match=message) as in_spark:
        read_raw(spark, tmp_path, dataset("stories"))
    with pytest.raises(BadInput, match=message):
        connect(tmp_path)
    assert "remove" not in str(in_spark.value)


def test_a_file_that_may_not_be_read_is_said_to_be_so(spark: SparkSession, tmp_path: Path) -> None:
    path = write_rows(tmp_path, "stories", [story("s")])
    path.chmod(0)
    (tmp_path / "raw").chmod(0o755)
    above = [one for one in path.parents if one.owner() == "root" and "pytest" in str(one)]
    modes = {one: one.stat().st_mode for one in above}
    for one in above:
        one.chmod(0o755)
    became = os.geteuid() == 0  # root may read everything
    if became:
        os.seteuid(65534)
    try:
        with pytest.raises(BadInput, match=f"{path} cannot be read by this user; grant it read permission"):
            read_raw(spark, tmp_path, dataset("stories"))
    finally:
        if became:
            os.seteuid(0)
        for one, mode in modes.items():
            one.chmod(mode)


def test_every_unreadable_file_counts_and_three_are_named(spark: SparkSession, tmp_path: Path) -> None:
    for number in range(5):
        write_rows(tmp_path, "stories", [story("s")], f"{number}.parquet").write_bytes(b"")
    with pytest.raises(BadInput, match=r"0\.parquet.*1\.parquet.*2\.parquet.*\(2 more files cannot be read\.\)"):
        read_raw(spark, tmp_path, dataset("stories"))


def test_text_that_is_not_utf8_goes_to_quarantine(spark: SparkSession, tmp_path: Path) -> None:
    from batch.io import MISFIT

    for number, topic in enumerate((b"t", b"\xff")):
        _write(
            tmp_path,
            f"{number}",
            {"title": [b"\xff\xfe" if number == 0 else b"fine"], "topics": pa.array([[topic]], BINARY)},
        )
    _write(tmp_path, "2", {"title": [b"fine"], "topics": pa.array([[None, b"t"]], BINARY)})
    rows = read_raw(spark, tmp_path, dataset("stories")).select("story_id", MISFIT).collect()
    assert {tuple(row) for row in rows} == {("0", "text_not_utf8"), ("1", "text_not_utf8"), ("2", None)}
