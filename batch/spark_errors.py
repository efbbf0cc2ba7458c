"""Spark's exceptions as one sentence."""

from __future__ import annotations

import re

from pyspark.errors import PySparkException

from features.errors import BadInput

_UNREADABLE = re.compile(r"(?:while reading(?: the)? file|FAILED_READ_FILE[^\n]*?file)\s+(?:file:)?(\S+?\.parquet)")


def as_bad_input(error: PySparkException, job: str) -> Exception:
    """BadInput naming the file when Spark could not read one; otherwise a RuntimeError with Spark's own first line and the job."""
    text = str(error)
    if unreadable := _UNREADABLE.search(text):
        return BadInput(
            f"{unreadable[1]} cannot be read (job {job}): its data are damaged although its footer is whole; write it again or remove it."
        )
    return RuntimeError(f"job {job} failed in Spark: {text.strip().splitlines()[0]}")
