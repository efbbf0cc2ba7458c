"""What several tests of the batch share."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from learning.examples import cut, examples_of
from learning.fit import Choice, fit
from online.rankers.models.model import Model
from tests.learning.made import examples_table


@pytest.fixture(scope="module")
def one_partition(spark: SparkSession) -> Iterator[None]:
    """Shuffles of one partition, for a handful of rows: more would only be more tasks."""
    before = spark.conf.get("spark.sql.shuffle.partitions")
    spark.conf.set("spark.sql.shuffle.partitions", "1")
    yield
    spark.conf.set("spark.sql.shuffle.partitions", str(before))


@pytest.fixture(scope="module")
def model() -> Model:
    """A model of made examples."""
    examples = examples_of(examples_table(requests=200))
    return fit(examples, cut(examples), time.monotonic, schedule=(Choice(0.2, 6, 20),))
