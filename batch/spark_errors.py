"""Spark's exceptions as one sentence."""

from __future__ import annotations

import re

from features.errors import BadInput

_UNREADABLE = re.compile(r"FAILED_READ_FILE.*? file file:/*(/\S+?\.parquet)")
_MESSAGE = re.compile(r"^: [\w.$]+: (.+)$", re.MULTILINE)
"""What Java says, below the bridge's own line."""


def as_bad_input(error: Exception, job: str) -> Exception:
    """For an error of PySpark or of its bridge to Java. BadInput naming the file when Spark could not read one; otherwise a RuntimeError with Spark's own first line and the job."""
    text = str(error)
    if unreadable := _UNREADABLE.search(text):
        return BadInput(
            f"{unreadable[1]} cannot be read (job {job}): its data are damaged although its footer is whole; write it again or remove it."
        )
    said = _MESSAGE.search(text)
    return RuntimeError(f"job {job} failed in Spark: {said[1] if said else text.strip().splitlines()[0]}")
