"""The Spark session, from settings."""

from __future__ import annotations

import errno
import os
import pwd
import resource
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from py4j.protocol import Py4JError
from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkException
from pyspark.java_gateway import launch_gateway
from pyspark.sql import SparkSession

from batch import arrow_functions
from batch.settings import BatchSettings
from features.errors import Unavailable
from features.settings import Settings
from rex.local.faults import first_line, refusal
from rex.local.java import ensure_java

BROADCAST_BYTES = 64 << 20
"""Tables up to this size travel to the rows they are joined with: a million stories' ids still do."""

JVM_LOCALE = "-Duser.timezone=UTC -Duser.language=en -Duser.country= -Duser.variant= -Duser.script="
"""Java's time zone and locale, the same on every machine: `lower` goes by the locale, and a Turkish one makes `ı` of `I`."""


FALLBACK_USER = "rex"
"""User name where the user id has no entry in passwd."""


FEWEST_FILES = 512
"""The jars of Spark are some 250 files, and Java opens some of its own."""


def start_session(settings: BatchSettings) -> SparkSession:
    """A session in UTC and a fixed locale, quiet, with its scratch and its log under `var`. Unavailable when no Java can be had or Spark does not start, OSError when too few files may be open."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < FEWEST_FILES:  # Java would blame its own installation
        raise OSError(errno.EMFILE, f"Spark opens up to {FEWEST_FILES} files at its start")
    work = Settings().var.absolute() / "spark"
    work.mkdir(parents=True, exist_ok=True)
    ensure_java(work.parent)
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    for name in ("SPARK_HOME", "PYSPARK_SUBMIT_ARGS"):  # of another Spark; this one is part of the environment
        os.environ.pop(name, None)
    builder: SparkSession.Builder = SparkSession.builder
    configuration = _configuration(settings, work)
    for name, value in configuration.items():
        builder = builder.config(name, value)
    log = work / "spark.log"
    try:
        with _errors_to(log):
            if not _has_name():
                _give_a_name(SparkConf(loadDefaults=False).setAll(list(configuration.items())))
            handler = signal.getsignal(signal.SIGINT)
            session = builder.getOrCreate()
    except (PySparkException, Py4JError, OSError) as error:
        written = PySparkException(f"{error}\n{_first_error(log)}")  # Java often says why in its log alone
        raise refusal(written) or Unavailable(f"Spark does not start ({first_line(error)}); see {log}.") from error
    if threading.current_thread() is threading.main_thread():
        # PySpark's own handler asks Java to cancel jobs while another call to Java may be under way.
        signal.signal(signal.SIGINT, handler)
    arrow_functions.register(session)
    return session


@contextmanager
def session(spark: SparkSession | None, settings: BatchSettings) -> Iterator[SparkSession]:
    """`spark`, or the one already running in this process, both left running; else one of our own."""
    running = spark or SparkSession.getActiveSession()
    used = running or start_session(settings)
    try:
        yield used
    finally:
        if running is None:
            used.stop()


def _has_name() -> bool:
    """Whether the user that this process runs as has an entry in passwd; containers run as users without one."""
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return True


def _give_a_name(conf: SparkConf) -> None:
    """Starts the JVM and logs FALLBACK_USER in, before anything there asks the system for a user's name, which Hadoop
    cannot do without. PySpark starts its JVM within the session otherwise, where it is too late."""
    os.environ.setdefault("SPARK_USER", FALLBACK_USER)
    gateway = launch_gateway(conf)  # type: ignore[no-untyped-call]  # PySpark declares no types for it
    SparkContext._ensure_initialized(gateway=gateway)
    users = gateway.jvm.org.apache.hadoop.security.UserGroupInformation
    users.setLoginUser(users.createRemoteUser(os.environ["SPARK_USER"]))


def _first_error(log: Path) -> str:
    """The lines of the log that name what ended Java; empty where there are none."""
    if not log.exists():
        return ""
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join(line for line in lines if line.startswith(("Exception in thread", "Caused by", "Error")))


@contextmanager
def _errors_to(log: Path) -> Iterator[None]:
    """File descriptor 2 goes to `log`. The JVM is started within and keeps it so: its messages belong in the log, not on the console."""
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
        "spark.driver.extraJavaOptions": f"{JVM_LOCALE} {_java_options(work)}",
        "spark.executor.extraJavaOptions": JVM_LOCALE,
        "spark.local.dir": str(work),
        # The lake is a directory of this machine, whatever a Hadoop configuration nearby calls the default.
        "spark.hadoop.fs.defaultFS": "file:///",
        # Without checksum files beside the data, whose names no file with a colon in its own can have.
        "spark.hadoop.fs.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem",
        # More paths than this are looked up by a job of their own, with a task each: half a minute for 5,000.
        "spark.sql.sources.parallelPartitionDiscovery.threshold": "1000000",
        "spark.sql.warehouse.dir": str(work / "warehouse"),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": str(settings.shuffle_partitions),
        # Joins may adapt to sizes; partition numbers may not, so that files and ALS blocks are the same in every run.
        "spark.sql.adaptive.enabled": "true",
        "spark.sql.adaptive.coalescePartitions.enabled": "false",
        "spark.sql.adaptive.skewJoin.enabled": "false",
        "spark.sql.autoBroadcastJoinThreshold": str(BROADCAST_BYTES),
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        # A row that goes to Python is a user with everything shown in a day, some 20 kB: 20 MB at once.
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
    """user.home: Spark keeps a cache there, and a user without an entry in passwd has none."""
    log4j = Path(__file__).with_name("log4j2.properties")
    return f'-Dlog4j2.configurationFile="file:{log4j}" -Duser.home="{work}" -Dderby.system.home="{work}"'
