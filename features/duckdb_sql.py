"""Names, texts and paths as DuckDB's SQL has them."""

from __future__ import annotations

import re
from pathlib import Path

from features.errors import BadInput


def quoted(name: str) -> str:
    """An identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: object) -> str:
    """A value as a text."""
    return "'" + str(value).replace("'", "''") + "'"


def exact_path(path: Path) -> str:
    """The path as DuckDB must be told it: what it would take for a pattern stands for itself. BadInput for one it cannot be told."""
    if "\\" in str(path) and re.search(r"[\[*?]", str(path)):
        raise BadInput(
            f"{path} holds a backslash and one of [ * ?, which DuckDB cannot open together; rename one of them."
        )
    return re.sub(r"[\[*?]", r"[\g<0>]", str(path))
