"""`features.languages` as functions of columns: Spark and the service follow one definition."""

from __future__ import annotations

import pyarrow as pa
from pyspark.sql import Column, SparkSession
from pyspark.sql.pandas.functions import arrow_udf
from pyspark.sql.types import ArrayType, BooleanType, StringType

from features.languages import known_languages, well_formed


@arrow_udf(ArrayType(StringType()))  # type: ignore[call-overload, untyped-decorator]
def _known(tags: pa.Array) -> pa.Array:
    return pa.array([known_languages(some or ()) for some in tags.to_pylist()], pa.list_(pa.string()))


@arrow_udf(BooleanType())  # type: ignore[call-overload, untyped-decorator]
def _well_formed(tags: pa.Array) -> pa.Array:
    return pa.array([well_formed(some or ()) for some in tags.to_pylist()], pa.bool_())


def known(tags: Column) -> Column:
    """array<string> → array<string>: the languages that the tags name, each once, sorted; malformed tags name none."""
    return _known(tags)


def register(spark: SparkSession) -> None:
    """Makes `well_formed_languages(array<string>)` known to SQL, for the checks of `features.raw_datasets`."""
    spark.udf.register("well_formed_languages", _well_formed)
