"""Paths as each engine must be told them: what it would take for a pattern stands for itself. BadInput for one that it cannot be told."""

from __future__ import annotations

import re
from pathlib import Path

from features.errors import BadInput


def duckdb_path(path: Path) -> str:
    """For DuckDB, which has no escape that it would not take for part of a name besides."""
    if "\\" in str(path):
        _refuse(path, "[*?", "a backslash", "DuckDB")
    return re.sub(r"[\[*?]", r"[\g<0>]", str(path))


def hadoop_path(path: Path) -> str:
    """For Spark, which takes what stands before a colon for a protocol once it looks for patterns."""
    if ":" in str(path):
        _refuse(path, "[]{}*?\\", "a colon", "Spark")
    return re.sub(r"[\[\]{}*?\\]", r"\\\g<0>", str(path))


def _refuse(path: Path, marks: str, beside: str, engine: str) -> None:
    if set(marks) & set(str(path)):
        raise BadInput(
            f"{path} holds {beside} and one of {' '.join(marks)}, which {engine} cannot open together; rename one of them."
        )
