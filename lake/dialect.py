"""Teaches DuckDB what the checks of raw datasets say in Spark's words, so that one declaration means the same in both."""

from __future__ import annotations

import duckdb
import pyarrow as pa
from duckdb.func import ARROW, SPECIAL
from duckdb.sqltypes import BOOLEAN, VARCHAR

from features.languages import well_formed

FUNCTIONS = {
    "octet_length(x)": "strlen(x)",
    "regexp_like(x, pattern)": "regexp_matches(x, pattern)",
    "array_repeat(x, n)": "list_transform(range(n), lambda i: x)",
}
"""Spark's, and what DuckDB has for it."""


def teach(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes every function that a check of `features.raw_datasets` calls known to `connection`."""
    for spark, own in FUNCTIONS.items():
        connection.execute(f"CREATE OR REPLACE TEMP MACRO {spark} AS {own}")
    languages = duckdb.list_type(VARCHAR)
    connection.create_function(
        "well_formed_languages", _well_formed, [languages], BOOLEAN, type=ARROW, null_handling=SPECIAL
    )


def _well_formed(tags: pa.Array) -> pa.Array:
    return pa.array([well_formed(some or ()) for some in tags.to_pylist()], pa.bool_())
