"""Names and texts as DuckDB's SQL has them."""

from __future__ import annotations


def quoted(name: str) -> str:
    """An identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: object) -> str:
    """A value as a text."""
    return "'" + str(value).replace("'", "''") + "'"
