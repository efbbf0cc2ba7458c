"""The only place that reads and writes the lake's Parquet for Spark."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema, from_arrow_type
from pyspark.sql.types import ArrayType, DataType, FloatType, IntegerType, StringType, StructType, TimestampType

from features.errors import BadInput
from features.lake_files import Group, Stored, data_files, inspect, raw_layer
from features.lake_layout import (
    PARTITIONS,
    SPARK_PARTITION_FORMAT,
    dataset_folder,
    hadoop_path,
    partition_name,
)
from features.partitions import partition_files, write_manifest
from features.schema import NO_DATES, WHITE_SPACE, Dataset
from features.stored_types import BINARY, NANOS
from features.undated import is_undated
from features.verdicts import NUMBER_OUT_OF_RANGE, TEXT_NOT_UTF8

MISFIT = "_misfit"
"""Column that `read_raw` adds: why a stored value cannot become the declared type (it is null then); null: all can. The other
is NO_DATES."""
WRITING, REPLACED = "_writing", "_replaced"
"""Directories beside the partitions: what is being written, and what is being replaced. Readers skip `_`."""
NO_REASON = "__HIVE_DEFAULT_PARTITION__"
"""Spark's name of the partition whose value is null."""


@dataclass(frozen=True, slots=True)
class Staged:
    """One partition, written in full but not yet in its place."""

    as_of: datetime
    path: Path
    place: Path

    @classmethod
    def of(cls, folder: Path, as_of: datetime) -> Staged:
        """The partition of the dataset that lies in `folder`."""
        name = partition_name(as_of)
        return cls(as_of, folder / WRITING / name, folder / name)


def spark_schema(dataset: Dataset, without: Sequence[str] = ()) -> StructType:
    """The declared columns as Spark types, all nullable (Parquet read by Spark always is)."""
    fields = [f for f in from_arrow_schema(dataset.arrow_schema()) if f.name not in without]
    for field in fields:
        field.nullable = True
    return StructType(fields)


def read_raw(spark: SparkSession, lake: Path, dataset: Dataset) -> DataFrame:
    """The raw dataset in declared columns and types (partition columns left out), MISFIT and NO_DATES.

    Missing optional columns are null, a missing optional dataset is empty. BadInput, before Spark opens anything, for a
    missing lake, a missing or empty dataset that is needed, a corrupt file, a wrong type, a missing required column.
    """
    folder = raw_layer(lake) / dataset.name
    groups = [group for group in inspect(dataset, folder) if group.rows]
    if not groups and not dataset.optional:
        raise BadInput(
            f"Dataset {dataset.name} in {folder} has no rows; write it there as Parquet with the columns {_required(dataset)}."
        )
    empty = spark.createDataFrame([], spark_schema(dataset, dataset.partition_by).add(MISFIT, "string"))
    rows = functools.reduce(DataFrame.unionAll, [_scan(spark, dataset, group) for group in groups] or [empty])
    return rows.withColumn(NO_DATES, F.lit(is_undated(dataset, groups)))


def read_derived(
    spark: SparkSession, lake: Path, dataset: Dataset, as_ofs: Sequence[datetime], constants: str = ""
) -> DataFrame:
    """The partitions `as_ofs` of a derived dataset, `as_of` included; none: no rows. BadInput when one has not been written (with
    these constants)."""
    remedy = "run the whole batch for this as_of first (`rex batch` without --job)"
    paths = [path for as_of in as_ofs for path in partition_files(lake, dataset.name, as_of, remedy, constants)]
    if not paths:
        return spark.createDataFrame([], spark_schema(dataset))
    schema = spark_schema(dataset, ("as_of",)).add("as_of", "string")
    rows = (
        spark.read.schema(schema)
        .option("basePath", str(dataset_folder(lake, dataset.name)))
        .parquet(*map(hadoop_path, paths))
    )
    as_of = F.to_timestamp("as_of", SPARK_PARTITION_FORMAT).alias("as_of")
    return rows.select(*(as_of if name == "as_of" else F.col(name) for name in dataset.names))


def stage(
    rows: DataFrame, lake: Path, dataset: Dataset, as_ofs: Sequence[datetime], constants: str = ""
) -> list[Staged]:
    """Writes `rows` beside the dataset's partitions, sorted by grain, in a fixed number of files; `promote` puts them in place.

    Only declared columns are written, in declared types; columns beyond them are dropped. An as_of without rows becomes
    an empty file. What an earlier, killed run left behind is removed.
    """
    folder = dataset_folder(lake, dataset.name)
    clear_leftovers(folder)
    contract = rows.select(*_contract(rows, dataset, dataset.names))
    _sorted(contract, dataset).write.partitionBy("as_of").parquet(str(folder / WRITING))
    return [_finish(dataset, Staged.of(folder, as_of), constants) for as_of in as_ofs]


def stage_judged(
    rows: DataFrame, lake: Path, dataset: Dataset, as_of: datetime
) -> tuple[Staged, dict[str, list[Path]]]:
    """Writes judged `rows` in one pass: the good ones as `stage` does, the others by `reason` into files of their own.

    Returns the staged partition of good rows, and reason → files. The files keep the partitions that judging left
    behind (of a hash of the grain, as many as a shuffle has), and are sorted by grain.
    """
    folder = dataset_folder(lake, dataset.name)
    clear_leftovers(folder)
    writing = folder / WRITING
    columns = [name for name in dataset.names if name != "as_of"]
    order = ["reason", *(name for name in dataset.grain if name != "as_of")]
    rows.select(*_contract(rows, dataset, columns), "reason").sortWithinPartitions(*order).write.partitionBy(
        "reason"
    ).parquet(str(writing))
    staged = Staged.of(folder, as_of)
    good = writing / f"reason={NO_REASON}"
    if good.exists():
        good.rename(staged.path)
    reasons = {path.name.removeprefix("reason="): data_files(path) for path in sorted(writing.glob("reason=*"))}
    return _finish(dataset, staged), reasons


def write_quarantine(folder: Path, bad: Mapping[str, Sequence[Path]], dataset: Dataset) -> None:
    """One file with `reason` and the raw dataset's columns, file by file; `bad`: reason → files. Always there, if empty."""
    fields = [f.with_nullable(True) for f in dataset.arrow_schema() if f.name not in dataset.partition_by]
    schema = pa.schema([pa.field("reason", pa.string()), *fields])
    folder.mkdir(parents=True)
    with pq.ParquetWriter(folder / "part-00000.parquet", schema, compression="zstd") as writer:
        for reason, files in sorted(bad.items()):
            for path in files:
                rows = pq.read_table(path, partitioning=None, columns=[field.name for field in fields])
                writer.write_table(
                    rows.add_column(0, "reason", pa.array([reason] * len(rows), pa.string())).cast(schema)
                )


def promote(staged: Sequence[Staged]) -> None:
    """Puts written partitions in their places, each by rename, and removes what they replace."""
    for partition in staged:
        if partition.place.exists():
            replaced = partition.place.parent / REPLACED / partition.place.name
            replaced.parent.mkdir(exist_ok=True)
            partition.place.rename(replaced)
        partition.path.rename(partition.place)
    for folder in {partition.place.parent for partition in staged}:
        clear_leftovers(folder)


def clear_leftovers(folder: Path) -> None:
    """Removes what a killed run left in a dataset's folder; a partition that it had only moved away comes back."""
    folder.mkdir(parents=True, exist_ok=True)
    for moved in (folder / REPLACED).glob(PARTITIONS):
        if not (folder / moved.name).exists():
            moved.rename(folder / moved.name)
    shutil.rmtree(folder / WRITING, ignore_errors=True)
    shutil.rmtree(folder / REPLACED, ignore_errors=True)


def _contract(rows: DataFrame, dataset: Dataset, names: Sequence[str]) -> list[SparkColumn]:
    """The contract of every job's output: declared columns in declared types; Spark fails when one is missing.

    Casts that would only say that elements may be null are left out: whether Spark drops them depends on the plan.
    """
    targets = {field.name: field.dataType for field in spark_schema(dataset)}
    same = {
        field.name
        for field in rows.schema
        if field.name in targets and field.dataType.simpleString() == targets[field.name].simpleString()
    }
    return [F.col(name) if name in same else F.col(name).cast(targets[name]).alias(name) for name in names]


def _required(dataset: Dataset) -> str:
    return ", ".join(column.name for column in dataset.columns if column.required)


def _scan(spark: SparkSession, dataset: Dataset, group: Group) -> DataFrame:
    schema = ", ".join(f"`{_quoted(stored.name)}` {stored.form}" for stored in group.stored if stored.name)
    rows = spark.read.schema(schema or "_ int").parquet(*map(hadoop_path, group.files))
    columns, misfits = [], []
    for column, stored in zip(dataset.columns, group.stored, strict=True):
        if column.name in dataset.partition_by:
            continue
        target = from_arrow_type(column.type)
        value, misfit = _value(stored, target)
        columns.append(value.cast(target).alias(column.name))
        misfits += [] if misfit is None else [misfit]
    return rows.select(*columns, F.coalesce(*misfits, F.lit(None).cast("string")).alias(MISFIT))


def _quoted(name: str) -> str:
    return name.replace("`", "``")


def _value(stored: Stored, target: DataType) -> tuple[SparkColumn, SparkColumn | None]:
    """What files hold of a column, and why it does not fit (null: it does)."""
    if not stored.name:
        return F.lit(stored.value), None
    value = F.col(f"`{_quoted(stored.name)}`")
    if isinstance(target, TimestampType) and stored.form == NANOS:
        return F.timestamp_micros(F.floor(value / F.lit(1000)).cast("bigint")), None
    if isinstance(target, IntegerType) and stored.form == "bigint":
        narrow = value.try_cast(target)
        return narrow, F.when(narrow.isNull() & value.isNotNull(), F.lit(NUMBER_OUT_OF_RANGE))
    if isinstance(target, FloatType) and stored.form == "double":
        narrow, endless = value.cast(target), F.lit(float("inf")).cast(target)
        beyond = (F.abs(narrow) == endless) & (F.abs(value) != F.lit(float("inf")))
        return F.when(~beyond, narrow), F.when(beyond, F.lit(NUMBER_OUT_OF_RANGE))
    if stored.form == BINARY:
        return _text(value), F.when(_is_broken(value), F.lit(TEXT_NOT_UTF8))
    if isinstance(target, ArrayType) and isinstance(target.elementType, StringType):
        trimmed = F.transform(value, lambda element: F.trim(_text(element), F.lit(WHITE_SPACE)))
        broken = F.exists(value, _is_broken) if BINARY in stored.form else F.lit(False)
        return F.filter(trimmed, lambda element: element != ""), F.when(broken, F.lit(TEXT_NOT_UTF8))
    return value, None


def _text(value: SparkColumn) -> SparkColumn:
    return F.try_validate_utf8(value.cast("string"))


def _is_broken(value: SparkColumn) -> SparkColumn:
    return value.isNotNull() & _text(value).isNull()


def _sorted(rows: DataFrame, dataset: Dataset) -> DataFrame:
    """Rows by grain, all of one partition in one task and so in one file, `as_of` as directories name it.

    It is named before it is sorted by, and never null: otherwise Spark sorts by it once more when it writes, and drops this sort for that one.
    """
    name = F.coalesce(F.date_format("as_of", SPARK_PARTITION_FORMAT), F.lit(""))
    return rows.withColumn("as_of", name).repartition("as_of").sortWithinPartitions(*dataset.grain)


def _finish(dataset: Dataset, staged: Staged, constants: str = "") -> Staged:
    """Plain file names, an empty file where Spark had no rows to write, and the manifest."""
    if not staged.path.exists():
        staged.path.mkdir(parents=True)
        schema = dataset.arrow_schema()
        pq.write_table(schema.remove(schema.get_field_index("as_of")).empty_table(), staged.path / "part-00000.parquet")
    else:
        _name_files(staged.path)
    write_manifest(dataset, staged.path, constants)
    return staged


def _name_files(folder: Path) -> None:
    """`part-00000.parquet` and on, in Spark's task order; Spark's own names hold a random part."""
    for path in folder.iterdir():
        if path.suffix != ".parquet" or path.name.startswith((".", "_")):
            path.unlink()
    for number, path in enumerate(sorted(folder.glob("*.parquet"))):
        path.rename(folder / f"part-{number:05d}.parquet")
