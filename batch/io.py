"""The only place that reads and writes the lake's Parquet for Spark."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq
from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema, from_arrow_type
from pyspark.sql.types import IntegerType, StructType, TimestampType

from batch.footers import MISSING, NANOS, Group, data_files, inspect
from features.duckdb_views import partition_name
from features.errors import BadInput
from features.schema import Dataset

OUT_OF_RANGE = "_out_of_range"
"""Column that `read_raw` adds: true where a stored number does not fit the declared type (it is null then)."""
WRITING, REPLACED = "_writing", "_replaced"
"""Directories beside the partitions: what is being written, and what is being replaced. Readers skip `_`."""
PARTITION_FORMAT = "yyyy-MM-dd'T'HH-mm-ss'Z'"
"""`features.duckdb_views.PARTITION_FORMAT` in Spark's words."""
FILES = {"valid_events": 4}
"""Files a partition, where one would be unwieldy. Fixed, so that a re-run writes the same files."""


@dataclass(frozen=True, slots=True)
class Staged:
    """One partition, written in full but not yet in its place."""

    as_of: datetime
    path: Path
    place: Path


def spark_schema(dataset: Dataset, without: Sequence[str] = ()) -> StructType:
    """The declared columns as Spark types, all nullable (Parquet read by Spark always is)."""
    fields = [f for f in from_arrow_schema(dataset.arrow_schema()) if f.name not in without]
    for field in fields:
        field.nullable = True
    return StructType(fields)


def read_raw(spark: SparkSession, lake: Path, dataset: Dataset) -> DataFrame:
    """The raw dataset in declared columns and types (partition columns left out) and OUT_OF_RANGE.

    Missing optional columns are null, a missing optional dataset is empty. BadInput, before Spark opens anything, for a
    missing lake, a missing or empty dataset that is needed, a corrupt file, a wrong type, a missing required column.
    """
    if not (lake / "raw").is_dir():
        raise BadInput(
            f"There is no lake at {lake} (it has no directory raw/); make one with `rex simulate` or `rex import`."
        )
    folder = lake / "raw" / dataset.name
    groups = [group for group in inspect(dataset, data_files(folder)) if group.rows]
    if not groups and not dataset.optional:
        raise BadInput(
            f"Dataset {dataset.name} in {folder} has no rows; write it there as Parquet with the columns {_required(dataset)}."
        )
    empty = spark.createDataFrame([], spark_schema(dataset, dataset.partition_by)).withColumn(
        OUT_OF_RANGE, F.lit(False)
    )
    return functools.reduce(DataFrame.unionAll, [_scan(spark, dataset, group) for group in groups] or [empty])


def read_derived(spark: SparkSession, lake: Path, dataset: Dataset, as_ofs: Sequence[datetime]) -> DataFrame:
    """The partitions `as_ofs` of a derived dataset, `as_of` included. BadInput when one has not been written."""
    folder = lake / "features" / dataset.name
    paths = [folder / partition_name(as_of) for as_of in as_ofs]
    if missing := [path for path in paths if not path.is_dir()]:
        raise BadInput(
            f"{missing[0]} has not been written yet; run the whole batch for this as_of first (`rex batch` without --job)."
        )
    schema = spark_schema(dataset, ("as_of",)).add("as_of", "string")
    rows = spark.read.schema(schema).option("basePath", str(folder)).parquet(*map(str, paths))
    as_of = F.to_timestamp("as_of", PARTITION_FORMAT).alias("as_of")
    return rows.select(*(as_of if name == "as_of" else F.col(name) for name in dataset.names))


def stage(rows: DataFrame, lake: Path, dataset: Dataset, as_ofs: Sequence[datetime]) -> list[Staged]:
    """Writes `rows` beside the dataset's partitions, sorted by grain, in a fixed number of files; `promote` puts them in place.

    Only declared columns are written, in declared types; columns beyond them are dropped. An as_of without rows becomes
    an empty file. What an earlier, killed run left behind is removed.
    """
    folder = lake / "features" / dataset.name
    clear_leftovers(folder)
    writing = folder / WRITING
    by_name = zip(dataset.names, spark_schema(dataset), strict=True)
    columns = [F.col(name).cast(field.dataType).alias(name) for name, field in by_name]
    _write(_sorted(rows.select(*columns), dataset), writing)
    return [_finish(dataset, Staged(a, writing / partition_name(a), folder / partition_name(a))) for a in as_ofs]


def stage_beside(rows: DataFrame, folder: Path, as_of: datetime, by: Sequence[str]) -> Staged:
    """Writes undeclared `rows` (a quarantine) into one file, for the partition `as_of` of `folder`."""
    clear_leftovers(folder)
    staged = Staged(as_of, folder / WRITING / partition_name(as_of), folder / partition_name(as_of))
    rows.coalesce(1).sortWithinPartitions(*by).write.parquet(str(staged.path))
    _name_files(staged.path)
    return staged


def promote(staged: Sequence[Staged]) -> None:
    """Puts written partitions in their places, each by rename, and removes what they replace."""
    for partition in staged:
        replaced = partition.place.parent / REPLACED
        if partition.place.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            partition.place.rename(replaced)
        partition.path.rename(partition.place)
        shutil.rmtree(replaced, ignore_errors=True)
    for folder in {partition.place.parent for partition in staged}:
        clear_leftovers(folder)


def clear_leftovers(folder: Path) -> None:
    """Removes what a killed run left in a dataset's folder; a partition that it had only moved away comes back."""
    replaced = folder / REPLACED
    shutil.rmtree(folder / WRITING, ignore_errors=True)
    shutil.rmtree(replaced, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)


def _required(dataset: Dataset) -> str:
    return ", ".join(column.name for column in dataset.columns if column.required)


def _scan(spark: SparkSession, dataset: Dataset, group: Group) -> DataFrame:
    stored = {name: ddl for name, ddl in group.stored if ddl != MISSING}
    schema = ", ".join(f"`{name}` {ddl}" for name, ddl in stored.items())
    rows = spark.read.schema(schema).parquet(*map(str, group.files))
    declared = [c for c in dataset.columns if c.name not in dataset.partition_by]
    columns, lost = [], F.lit(False)
    for column in declared:
        target = from_arrow_type(column.type)
        value = F.lit(None) if column.name not in stored else F.col(column.name)
        if isinstance(target, TimestampType) and stored.get(column.name) == NANOS:
            value = F.timestamp_micros(F.floor(value / F.lit(1000)).cast("bigint"))
        if isinstance(target, IntegerType) and stored.get(column.name) == "bigint":
            value, narrow = F.col(column.name).try_cast(target), value
            lost = lost | (narrow.isNotNull() & value.isNull())
        columns.append(value.cast(target).alias(column.name))
    return rows.select(*columns, lost.alias(OUT_OF_RANGE))


def _sorted(rows: DataFrame, dataset: Dataset) -> DataFrame:
    """Rows by grain; all of one partition's file in one task."""
    keys: list[SparkColumn] = [F.col(name) for name in dataset.grain]
    files = FILES.get(dataset.name)
    by_file = rows.repartition("as_of") if files is None else rows.repartition(files, *dataset.grain[1:])
    return by_file.sortWithinPartitions(*keys)


def _write(rows: DataFrame, folder: Path) -> None:
    named = rows.withColumn("as_of", F.date_format("as_of", PARTITION_FORMAT))
    named.write.partitionBy("as_of").parquet(str(folder))


def _finish(dataset: Dataset, staged: Staged) -> Staged:
    """Plain file names, and an empty file where Spark had no rows to write."""
    if not staged.path.exists():
        staged.path.mkdir(parents=True)
        schema = dataset.arrow_schema()
        pq.write_table(schema.remove(schema.get_field_index("as_of")).empty_table(), staged.path / "part-00000.parquet")
    else:
        _name_files(staged.path)
    return staged


def _name_files(folder: Path) -> None:
    """`part-00000.parquet` and on, in Spark's task order; Spark's own names hold a random part."""
    for path in folder.iterdir():
        if path.suffix != ".parquet" or path.name.startswith((".", "_")):
            path.unlink()
    for number, path in enumerate(sorted(folder.glob("*.parquet"))):
        path.rename(folder / f"part-{number:05d}.parquet")
