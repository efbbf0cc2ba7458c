"""Tables of every kind of value, written by the tools that users use, in every format, come back exactly."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from features.null_spellings import NULL_SPELLINGS
from features.times import EPOCH
from tests.lake.importing.small_files import imported, kept_whole, put, rows

ISO = "%Y-%m-%dT%H:%M:%S.%fZ"

separators = st.sampled_from(
    [
        ",",
        ";",
        "\t",
        "|",
        '"',
        "'",
        '""',
        "\\",
        "\\N",
        "\n",
        "\r\n",
        "::",
        " ",
        "[",
        "]",
        "{",
        "é",
        "🙂",
        "ש",
        "\u2028",
        "NULL",
    ]
)
letters = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=6)
texts = st.lists(st.one_of(separators, letters), max_size=6).map("".join)
NO_ID = re.compile(r"[+-]?[\d.-]+([eE][+-]?\d+)?|\{.*\}|\[.*\]")
"""What is refused as an id because it looks like a number, a structure or a list."""
ids = texts.map(lambda text: "".join(c for c in text if c.isprintable())[:20].strip(" ")).filter(
    lambda text: text and text not in (".", "..", *NULL_SPELLINGS) and not NO_ID.fullmatch(text)
)
stories = st.fixed_dictionaries(
    {
        "story_id": ids,
        "author_id": st.none() | ids,
        "title": st.none() | texts.filter(lambda text: text not in ("", "\ufeff")),
        "published_at": st.integers(978_307_200_000_000, 1_767_225_600_000_000).map(
            lambda us: (EPOCH + timedelta(microseconds=us)).replace(tzinfo=None)
        ),
        "reading_time_s": st.none() | st.floats(0, 1e6, width=32),
        "topics": st.none() | st.lists(ids.filter(lambda text: "[" not in text and "]" not in text), max_size=3),
    }
)
tables = st.lists(stories, min_size=1, max_size=20, unique_by=lambda story: story["story_id"])


def flat(table: list[dict[str, Any]]) -> pd.DataFrame:
    """All of it as text, as files of text have it: lists as JSON, nothing as nothing."""
    frame = pd.DataFrame(table, dtype=object)
    frame["published_at"] = [at.strftime(ISO) for at in frame["published_at"]]
    frame["reading_time_s"] = [None if s is None else repr(s) for s in frame["reading_time_s"]]
    frame["topics"] = [None if topics is None else json.dumps(topics, ensure_ascii=False) for topics in frame["topics"]]
    return frame


def arrow(table: list[dict[str, Any]]) -> pa.Table:
    """With its own types."""
    kinds = {"published_at": pa.timestamp("us"), "reading_time_s": pa.float32(), "topics": pa.list_(pa.string())}
    names = ("story_id", "author_id", "title", "published_at", "reading_time_s", "topics")
    return pa.Table.from_pylist(table, pa.schema([(name, kinds.get(name, pa.string())) for name in names]))


def by_duckdb(table: pa.Table | pd.DataFrame, path: Path, options: str) -> None:
    with duckdb.connect() as db:
        db.register(
            "given", table if isinstance(table, pa.Table) else pa.Table.from_pandas(table, preserve_index=False)
        )
        db.execute(f"COPY given TO '{path}' ({options})")


Write = Callable[[list[dict[str, Any]], Path], object]
CSV = "csv('{}', multiline := true)"
LINES = "jsonl('{}')"
PARQUET = "parquet('{}')"
WRITERS: dict[str, tuple[Write, str]] = {
    "pandas, CSV": (lambda t, to: flat(t).to_csv(to, index=False), CSV),
    "pandas, quoted CSV": (lambda t, to: flat(t).to_csv(to, index=False, quoting=1, lineterminator="\r\n"), CSV),
    "pandas, TSV with escapes": (
        lambda t, to: flat(t).to_csv(to, index=False, sep="\t", doublequote=False, escapechar="\\"),
        "tsv('{}', escape := '\\', multiline := true)",
    ),
    "pandas, CSV in UTF-16": (lambda t, to: flat(t).to_csv(to, index=False, encoding="utf-16"), CSV.replace(")", ", encoding := 'utf-16')")),
    "pandas, gzip": (lambda t, to: flat(t).to_csv(to, index=False, compression="gzip"), CSV),
    "pandas, JSONL": (lambda t, to: flat(t).to_json(to, orient="records", lines=True), LINES),
    "pandas, Parquet": (lambda t, to: arrow(t).to_pandas().to_parquet(to), PARQUET),
    "DuckDB, CSV": (lambda t, to: by_duckdb(flat(t), to, "FORMAT csv, HEADER, DELIMITER ';'"), CSV.replace("multi", "delim := ';', multi")),
    "DuckDB, JSONL": (lambda t, to: by_duckdb(flat(t), to, "FORMAT json"), LINES),
    "DuckDB, Parquet": (lambda t, to: by_duckdb(arrow(t), to, "FORMAT parquet"), PARQUET),
    "PyArrow, CSV": (lambda t, to: pa_csv.write_csv(pa.Table.from_pandas(flat(t), preserve_index=False), to), CSV),
    "PyArrow, Parquet": (lambda t, to: pq.write_table(arrow(t), to), PARQUET),
    "PyArrow, Parquet of bytes": (lambda t, to: pq.write_table(as_bytes(arrow(t)), to), PARQUET),
    "Polars, CSV": (lambda t, to: in_polars(flat(t)).write_csv(to), CSV),
    "Polars, JSONL": (lambda t, to: in_polars(flat(t)).write_ndjson(to), LINES),
    "Polars, Parquet": (lambda t, to: pl.DataFrame(t, infer_schema_length=None).write_parquet(to), PARQUET),
    "Polars, Parquet of categories": (lambda t, to: as_categories(pl.DataFrame(t, infer_schema_length=None)).write_parquet(to), PARQUET),
    "Python, JSONL": (lambda t, to: to.write_text("".join(json.dumps(row) + "\n" for row in flat(t).to_dict("records"))), LINES),
}  # fmt: skip


def in_polars(table: pa.Table | pd.DataFrame) -> pl.DataFrame:
    """The same columns."""
    return pl.DataFrame(table, schema_overrides=dict.fromkeys(table.columns, pl.String))


def as_categories(table: pl.DataFrame) -> pl.DataFrame:
    """Ids as an Enum and a Categorical, and a list of those."""
    ids = pl.Enum(table["story_id"].unique())
    topics = pl.col("topics").cast(pl.List(pl.Categorical))
    return table.with_columns(pl.col("story_id").cast(ids), pl.col("author_id").cast(pl.Categorical), topics)


def as_bytes(table: pa.Table) -> pa.Table:
    """Without the mark of text, as Impala writes it."""
    return table.cast(
        pa.schema([field.with_type(pa.binary()) if field.type == pa.string() else field for field in table.schema])
    )


def select(call: str, version: str) -> str:
    """SQL that takes the columns of one file as they are, as a version of its stories."""
    names = ("story_id", "author_id", "title", "published_at", "reading_time_s")
    topics = "topics" if call.startswith("parquet") else "parsed_list(topics) AS topics"
    if call.startswith("jsonl"):
        cells = ", ".join(f"json->>'$.{name}' AS {name}" for name in names)
        topics = "parsed_list(json->>'$.topics') AS topics"
    else:
        cells = ", ".join(names)
    return f"SELECT {cells}, {topics}, '{version}' AS updated_at, file, line FROM {call}"


def expected(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What must come back: moments are UTC, a list of nothing and no list are what they were."""
    return [
        {
            "story_id": story["story_id"],
            "author_id": story["author_id"],
            "topics": story["topics"],
            "title": story["title"],
            "published_at": story["published_at"].replace(tzinfo=UTC),
            "reading_time_s": story["reading_time_s"],
        }
        for story in table
    ]


def round_trip(folder: Path, table: list[dict[str, Any]], writers: dict[str, tuple[Write, str]]) -> None:
    """Writes the table by each writer, and imports all files as versions of the same stories."""
    put(folder / "in")
    selects, versions = [], {}
    for number, (writer, (write, call)) in enumerate(writers.items()):
        write(table, folder / "in" / f"{number}.x")
        versions[datetime(2026, 2, 1, second=number, tzinfo=UTC)] = writer
        selects.append(select(call.format(f"{number}.x"), f"2026-02-01T00:00:{number:02}Z"))
    events = (
        "CREATE VIEW events AS SELECT 'u' AS user_id, (SELECT min(story_id) FROM stories) AS story_id, 'read' AS type, "
        "'2026-01-01' AS occurred_at"
    )
    imported(folder / "in", f"CREATE VIEW stories AS {' UNION ALL BY NAME '.join(selects)}; {events}")
    found: dict[str, list[dict[str, Any]]] = {writer: [] for writer in writers}
    for story in rows(folder / "in", "stories"):
        found[versions[story.pop("updated_at")]].append(story)
    assert kept_whole(folder / "in"), "what an import accepts, a batch keeps"
    for writer, stories in found.items():
        assert stories == expected(table), writer


@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(table=tables)
def test_what_tools_wrote_comes_back(table: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        round_trip(Path(folder), table, WRITERS)


@pytest.mark.nightly(part="imports")
@pytest.mark.timeout(3600)
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(table=tables)
def test_whatever_tools_wrote_comes_back(table: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        round_trip(Path(folder), table, WRITERS)


def in_spark(spark: SparkSession, table: list[dict[str, Any]]) -> DataFrame:
    """The table as text."""
    frame = flat(table)
    return spark.createDataFrame(
        list(frame.itertuples(index=False, name=None)), ", ".join(f"{c} string" for c in frame)
    )


@pytest.mark.nightly(part="imports")
def test_what_spark_wrote_comes_back(spark: SparkSession) -> None:
    blanks = {"ignoreLeadingWhiteSpace": False, "ignoreTrailingWhiteSpace": False}
    writers: dict[str, tuple[Write, str]] = {
        "Spark, CSV": (
            lambda t, to: in_spark(spark, t).coalesce(1).write.csv(str(to), header=True, escape='"', **blanks),
            CSV,
        ),
        "Spark, JSONL": (lambda t, to: in_spark(spark, t).coalesce(1).write.json(str(to)), LINES),
        "Spark, Parquet": (lambda t, to: spark.createDataFrame(arrow(t)).coalesce(1).write.parquet(str(to)), PARQUET),
    }

    @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
    @given(table=tables)
    def run(table: list[dict[str, Any]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            round_trip(Path(folder), table, writers)

    run()
