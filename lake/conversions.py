"""Source cells to declared types, as DuckDB expressions; a cell that does not convert is found by row and value."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from features.schema import TS
from lake.mapping import TableMapping

LATEST_US = 4_102_444_800_000_000
"""The year 2100: later times are a wrong unit (milliseconds taken for seconds), not the future."""
US_PER_UNIT = {"unix_s": 1_000_000, "unix_ms": 1_000}
SQL_TYPES = {pa.float32(): "FLOAT", pa.float64(): "DOUBLE", pa.int32(): "INTEGER", pa.bool_(): "BOOLEAN"}


@dataclass(frozen=True, slots=True)
class Conversion:
    """How one of our columns comes from one of theirs."""

    name: str
    source: str
    """Source column; empty: a constant."""
    sql: str
    """Expression over the source table; null where the cell does not convert."""
    expects: str
    """What a cell should have been, for the error message."""


def conversion(mapping: TableMapping, name: str, to: pa.DataType, source_type: str) -> Conversion:
    """The conversion of our column `name` to type `to`; `source_type` is DuckDB's name of the source column's type."""
    source = mapping.columns[name]
    column = quoted(source)
    text = f"nullif(trim({column}::VARCHAR), '')" if source_type == "VARCHAR" else f"{column}::VARCHAR"
    if name in mapping.values:
        known = mapping.values[name]
        cases = " ".join(f"WHEN {literal(theirs)} THEN {literal(ours)}" for theirs, ours in known.items())
        return Conversion(name, source, f"CASE {text} {cases} END", f"one of {', '.join(known)}")
    if to == TS:
        return Conversion(name, source, *_time(mapping.times.get(name, "iso"), column, text, source_type))
    if pa.types.is_list(to):
        if source_type.endswith("[]"):
            return Conversion(name, source, f"{column}::VARCHAR[]", "a list")
        separator = literal(mapping.lists.get(name, ","))
        cells = f"list_filter(list_transform(string_split({text}, {separator}), lambda x: trim(x)), lambda x: x <> '')"
        return Conversion(name, source, cells, "a list")
    if to == pa.string():
        return Conversion(name, source, text, "text")
    return Conversion(name, source, f"try_cast({text} AS {SQL_TYPES[to]})", f"a value of type {to}")


def constant(name: str, value: object, to: pa.DataType) -> Conversion:
    """The same value in every row."""
    if to == TS:
        return Conversion(name, "", _time("iso", "", literal(value), "VARCHAR")[0], "a time")
    if pa.types.is_list(to):
        return Conversion(name, "", f"[{literal(value)}]", "a list")
    sql = literal(value) if to == pa.string() else f"try_cast({literal(value)} AS {SQL_TYPES[to]})"
    return Conversion(name, "", sql, f"a value of type {to}")


def _time(form: str, column: str, text: str, source_type: str) -> tuple[str, str]:
    if source_type.startswith("TIMESTAMP"):  # from Parquet; without a zone it is UTC, which the session's zone is
        return f"{column}::TIMESTAMPTZ", "a time"
    if form == "iso":
        return f"try_cast({text} AS TIMESTAMPTZ)", "an ISO time such as 2026-01-31T18:00:00Z"
    us = f"(try_cast({text} AS DECIMAL(30, 9)) * {US_PER_UNIT[form]})"
    what = "seconds" if form == "unix_s" else "milliseconds"
    in_range = f"CASE WHEN abs{us} < {LATEST_US} THEN make_timestamptz({us}::BIGINT) END"
    return in_range, f"a number of {what} since 1970 ({form}) before the year 2100"


def quoted(name: str) -> str:
    """A column name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: object) -> str:
    """A value as an SQL string."""
    return "'" + str(value).replace("'", "''") + "'"
