"""Functions of `features` as functions of columns: Spark and the service follow one definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pyarrow as pa
from pyspark.sql import Column, SparkSession
from pyspark.sql.pandas.functions import arrow_udf
from pyspark.sql.types import ArrayType, BooleanType, DataType, LongType, StringType

from features.languages import known_languages, well_formed
from features.near_duplicates import duplicate_keys


def _known(tags: pa.Array) -> pa.Array:
    return pa.array([known_languages(some or ()) for some in tags.to_pylist()], pa.list_(pa.string()))


def _well_formed(tags: pa.Array) -> pa.Array:
    return pa.array([well_formed(some or ()) for some in tags.to_pylist()], pa.bool_())


def _duplicate_key(titles: pa.Array, story_hashes: pa.Array) -> pa.Array:
    return pa.array(duplicate_keys(titles, story_hashes.to_numpy()))


def _of_columns(function: Callable[..., pa.Array], returns: DataType) -> Callable[..., Column]:
    return cast(Any, arrow_udf)(function, returns)  # PySpark declares no types for it


known = _of_columns(_known, ArrayType(StringType()))
"""array<string> → array<string>: the languages that the tags name, each once, sorted; malformed tags name none."""

duplicate_key = _of_columns(_duplicate_key, LongType())
"""(title, story_hash) → bigint: see `features.near_duplicates.duplicate_key`."""


def register(spark: SparkSession) -> None:
    """Makes `well_formed_languages(array<string>)` known to SQL, for the checks of `features.raw_datasets`."""
    spark.udf.register("well_formed_languages", _of_columns(_well_formed, BooleanType()))
