"""Values as SQL text; `features.duckdb_views.quoted` is for names."""

from __future__ import annotations

from features.duckdb_views import quoted


def literal(value: object) -> str:
    """A value as an SQL string."""
    return quoted(str(value), "'")
