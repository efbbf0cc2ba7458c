"""Dense numbers for ids, where string keys would be slow or are not accepted."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def numbered(rows: DataFrame, key: str, name: str) -> DataFrame:
    """`key`, `name` (int): each distinct id's place, from 0, in the order of ids. Persisted, since its plan sorts."""
    ids = rows.select(key).distinct().orderBy(key).zipWithIndex(name)
    return ids.select(key, F.col(name).cast("int").alias(name)).persist()
