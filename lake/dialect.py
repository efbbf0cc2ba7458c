"""DuckDB as Rex checks rows with it: taught what the checks of raw datasets say in Spark's words, so that one declaration means the same in both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
from duckdb.func import ARROW, SPECIAL
from duckdb.sqltypes import BOOLEAN, VARCHAR

from features.duckdb_sql import literal
from features.languages import well_formed

FUNCTIONS = {
    "octet_length(x)": "strlen(x)",
    "regexp_like(x, pattern)": "regexp_matches(x, pattern)",
    "array_repeat(x, n)": "list_transform(range(n), lambda i: x)",
}
"""Spark's, and what DuckDB has for it."""
MEMORY = "1GB"
"""What DuckDB may take, whatever the size of the data: what it sorts and counts beyond that goes to a folder."""


@contextmanager
def connected(spill: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB that knows the functions of the checks, and keeps what does not fit into memory in `spill`."""
    with duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False}) as db:
        db.execute(f"SET memory_limit = '{MEMORY}'")
        db.execute("SET TimeZone = 'UTC'")  # what a time without a zone means
        db.execute("SET enable_progress_bar = false")
        db.execute(f"SET temp_directory = {literal(spill)}")
        teach(db)
        yield db


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
