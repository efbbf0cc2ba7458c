"""The Spark session, from settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from py4j.protocol import Py4JError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from batch import languages
from batch.settings import BatchSettings
from features.errors import Unavailable
from features.settings import Settings
from local.java import ensure_java

BROADCAST_BYTES = 64 << 20
"""Tables up to this size travel to the rows they are joined with: a million stories' ids still do."""


def start_session(settings: BatchSettings) -> SparkSession:
    """A session in UTC, quiet, with its scratch and its log under `var`. Unavailable when no Java can be had or Spark does not start."""
    work = Settings().var.absolute() / "spark"
    work.mkdir(parents=True, exist_ok=True)
    ensure_java(work.parent)
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    builder: SparkSession.Builder = SparkSession.builder
    for name, value in _configuration(settings, work).items():
        builder = builder.config(name, value)
    log = work / "spark.log"
    try:
        with _errors_to(log):
            session = builder.getOrCreate()
    except (PySparkException, Py4JError, OSError) as error:
        said = str(error).strip().splitlines()[0]
        raise Unavailable(
            f"Spark does not start ({said}); see {log}, and check REX_BATCH_SPARK_MASTER and REX_BATCH_DRIVER_MEMORY."
        ) from error
    languages.register(session)
    return session


@contextmanager
def _errors_to(log: Path) -> Iterator[None]:
    """File descriptor 2 goes to `log`. The JVM is started within and keeps it so: what it has to say is for who looks, not for the console."""
    sys.stderr.flush()
    console = os.dup(2)
    try:
        with log.open("w") as file:
            os.dup2(file.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(console, 2)
        os.close(console)


def _configuration(settings: BatchSettings, work: Path) -> dict[str, str]:
    return {
        "spark.app.name": "rex",
        "spark.master": settings.spark_master,
        "spark.driver.memory": settings.driver_memory,
        "spark.driver.extraJavaOptions": _java_options(work),
        "spark.local.dir": str(work),
        "spark.sql.warehouse.dir": str(work / "warehouse"),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": str(settings.shuffle_partitions),
        # Joins may adapt to sizes; partition numbers may not, so that files and ALS blocks are the same in every run.
        "spark.sql.adaptive.enabled": "true",
        "spark.sql.adaptive.coalescePartitions.enabled": "false",
        "spark.sql.adaptive.skewJoin.enabled": "false",
        "spark.sql.autoBroadcastJoinThreshold": str(BROADCAST_BYTES),
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        # A row that goes to Python is a person with everything shown in a day, some 20 kB: 20 MB at once.
        "spark.sql.execution.arrow.maxRecordsPerBatch": "1000",
        "spark.sql.parquet.compression.codec": "zstd",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
        "spark.sql.parquet.int96RebaseModeInRead": "CORRECTED",
        # The partition value of as_of is parsed by batch/io.py; a guess of Spark's would make it another type.
        "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
        # Nanoseconds (a data frame library's default) come as integers and are cut to microseconds in batch/io.py.
        "spark.sql.legacy.parquet.nanosAsLong": "true",
        # Tracing each expression to its line of Python is three of five calls to Java (36,722 of a small run become 14,562).
        "spark.python.sql.dataFrameDebugging.enabled": "false",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.structuredLogging.enabled": "false",
    }


def _java_options(work: Path) -> str:
    log4j = Path(__file__).with_name("log4j2.properties")
    return f'-Dlog4j2.configurationFile="file:{log4j}" -Duser.timezone=UTC -Dderby.system.home="{work}"'
