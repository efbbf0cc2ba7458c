"""Where derived datasets lie in a lake, and paths in the form in which each engine takes them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from features.errors import BadInput

PARTITION_FORMAT = "%Y-%m-%dT%H-%M-%SZ"
"""`as_of` in a path: UTC, whole seconds, no character that a file system or a URL would mind."""
SPARK_PARTITION_FORMAT = "yyyy-MM-dd'T'HH-mm-ss'Z'"
"""The same in Spark's notation."""
PARTITIONS = "as_of=*"
"""Pattern of all partitions in the folder of a derived dataset."""


def partition_name(as_of: datetime) -> str:
    """`as_of=2026-01-31T00-00-00Z`, the directory of one partition. BadInput without a time zone."""
    if as_of.tzinfo is None:
        raise BadInput(f"The as_of {as_of} has no time zone; write for example {as_of.isoformat()}Z.")
    return f"as_of={as_of.astimezone(UTC):{PARTITION_FORMAT}}"


def dataset_folder(lake: Path, name: str) -> Path:
    """Where the partitions of a derived dataset are."""
    return lake / "features" / name


def partition_folder(lake: Path, name: str, as_of: datetime) -> Path:
    """Where one partition of a derived dataset is."""
    return dataset_folder(lake, name) / partition_name(as_of)


def run_note(lake: Path, as_of: datetime) -> Path:
    """The file that a finished batch run of `as_of` leaves behind."""
    return dataset_folder(lake, "_runs") / f"{partition_name(as_of)}.json"


def duckdb_path(path: Path) -> str:
    """For DuckDB, without what it would take for a pattern. BadInput for a path that it cannot open."""
    if "\\" in str(path):  # it has no escape that it would not take for part of a name besides
        _refuse(path, "[*?", "a backslash", "DuckDB")
    return re.sub(r"[\[*?]", r"[\g<0>]", str(path))


def hadoop_path(path: Path) -> str:
    """The same for Spark, which takes what stands before a colon for a protocol once it looks for patterns."""
    if ":" in str(path):
        _refuse(path, "[]{}*?\\", "a colon", "Spark")
    return re.sub(r"[\[\]{}*?\\]", r"\\\g<0>", str(path))


def _refuse(path: Path, marks: str, beside: str, engine: str) -> None:
    if set(marks) & set(str(path)):
        raise BadInput(
            f"{path} holds {beside} and one of {' '.join(marks)}, which {engine} cannot open together; rename one of them."
        )
