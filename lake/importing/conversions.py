"""What a view yields as declared types, by one rule a type, as DuckDB expressions; a cell that means no such value is kept, with the reason.

Text is what most cells are. Rex's own functions (lake/importing/macros.sql) mark what they could not read, so that it is refused here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa

from features.duckdb_sql import literal, quoted
from features.duckdb_views import SQL_TYPES, micros_of_nanos
from features.errors import BadInput
from features.null_spellings import NULL_IDS
from features.schema import TS, Column

REFUSED, AS_IS = "chr(2)", "(chr(3) || chr(2) || chr(3))"
"""Marks before a text: a function's refusal; an id as it stands (`id(x)`). Neither may be part of an id."""
FREE_TEXT = ("title",)
"""Text that users read: kept as it stands, blanks at its ends included."""
_ISO = r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}([.]\d{1,9})?)?( ?(Z|z|UTC|[+-](0\d|1[0-4])(:?[0-5]\d)?))?)?"
_FLOAT, _WHOLE = r"[+-]?(\d+[.]?\d*|[.]\d+)([eE][+-]?\d+)?", r"[+-]?\d+([.]0*)?"
_AS_FLOAT = r"[+-]?\d+[.]0*|[+-]?\d+([.]\d*)?[eE][+-]?\d+"
"""What spreadsheets and data frames make of whole numbers in a column of floats; a short form has lost digits."""
_AS_STRUCT = r"(?s)\{.*\}|\[.*\]"
INTEGERS = (
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "UHUGEINT",
)
FRACTIONS = ("FLOAT", "DOUBLE", "DECIMAL")
"""DuckDB's types of numbers, by how their names begin."""
_EXACT = 2**53
"""A float holds every whole number below it, and not the one after."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """How one declared column comes from what the view yields under its name."""

    column: Column
    cell: str
    """Expression: the cell as text, null where nothing is there."""
    value: str
    """Expression of the declared type; null where nothing is there or the cell does not convert."""
    reason: str
    """Expression: what the cell should have been, where it does not convert."""


def conversion(where: str, column: Column, source: str, kind: str) -> Conversion:
    """The conversion of the view's column `source` of DuckDB type `kind`. BadInput when no value of that type can be one of the column's."""
    name, to = quoted(source), column.type
    text = _text(name, kind)
    if kind in ('"NULL"', "NULL"):
        return Conversion(column, "NULL::VARCHAR", f"NULL::{SQL_TYPES[to]}", "''")
    if pa.types.is_list(to):
        return _list(where, column, source, kind)
    if kind == "JSON":
        raise BadInput(f"{where}: {source} is JSON; take its text with ->> instead of ->.")
    if kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION", "BLOB", "BIT", "INTERVAL")):
        raise BadInput(
            f"{where}: {source} is of type {kind.split('(')[0]}, but {column.name} is one {_meant(column)}; select a part of it."
        )
    value, reason = _scalar(where, column, source, kind, name, text)
    if to != TS:  # a time's own reason names the probable unit
        reason = f"CASE WHEN starts_with({text}, {REFUSED}) THEN {_meant_sql(column)} ELSE {reason} END"
    return Conversion(column, text, value, reason)


def _scalar(where: str, column: Column, source: str, kind: str, name: str, text: str) -> tuple[str, str]:
    to = column.type
    if to == TS:
        return _time(kind, name, text)
    if to == pa.bool_():
        if kind != "VARCHAR" and kind != "BOOLEAN" and kind not in INTEGERS:
            raise BadInput(f"{where}: {source} is of type {kind}, but {column.name} is true or false.")
        yes, no = "('true', 't', 'yes', 'y', '1')", "('false', 'f', 'no', 'n', '0')"
        return (
            f"CASE WHEN lower({text}) IN {yes} THEN true WHEN lower({text}) IN {no} THEN false END",
            "'is not true or false'",
        )
    if to == pa.string():
        if is_id(column.name):
            return _id(where, column, source, kind, text)
        if kind != "VARCHAR" and not kind.startswith("ENUM"):
            raise BadInput(f"{where}: {source} is of type {kind}, but {column.name} is text.")
        kept = f"nullif({name}::VARCHAR, '')" if column.name in FREE_TEXT else text
        return f"CASE WHEN {kept} IS NULL OR NOT starts_with({kept}, {REFUSED}) THEN {kept} END", "'is not text'"
    if kind in ("BOOLEAN", "DATE", "UUID") or kind.startswith("TIME"):
        raise BadInput(f"{where}: {source} is of type {kind}, but {column.name} is a number.")
    pattern = _WHOLE if to == pa.int32() else _FLOAT
    number = f"try_cast({text} AS {SQL_TYPES[to]})"
    if kind in FRACTIONS or kind.startswith("DECIMAL"):
        whole = f"CASE WHEN {name} = floor({name}) THEN try_cast({name} AS INTEGER) END"
        number = (
            whole if to == pa.int32() else f"CASE WHEN isfinite({name}) THEN try_cast({name} AS {SQL_TYPES[to]}) END"
        )
    elif kind == "VARCHAR":
        number = (
            f"CASE WHEN regexp_full_match({text}, {literal(pattern)}) AND isfinite({number}::DOUBLE) THEN {number} END"
        )
    what = "a whole number" if to == pa.int32() else "a number"
    hint = f"CASE WHEN contains({text}, ',') THEN '; write number(x, decimal := '','')' ELSE '' END"
    return number, f"'is not {what}' || {hint}"


def is_id(name: str) -> bool:
    """Whether a column, or each element of it, is an id."""
    return name.endswith("_id") or name == "topics"


def _text(name: str, kind: str) -> str:
    return f"rex_trim({name})" if kind in ("VARCHAR", "JSON") or kind.startswith("ENUM") else f"{name}::VARCHAR"


def _id(where: str, column: Column, source: str, kind: str, text: str) -> tuple[str, str]:
    if kind in INTEGERS or kind == "UUID":
        return text, "''"
    if kind.startswith(FRACTIONS):
        name = quoted(source)
        exact = "" if kind.startswith("DECIMAL") else f" AND abs({name}) < {_EXACT}"
        whole = f"{name} = floor({name}){exact}"
        return (
            f"CASE WHEN {whole} THEN {name}::HUGEINT::VARCHAR END",
            f"'is a fraction or a float beyond {_EXACT:,}, so it cannot be an id'",
        )
    if kind != "VARCHAR" and not kind.startswith("ENUM"):
        raise BadInput(f"{where}: {source} is of type {kind}, but {column.name} is an id: text or a whole number.")
    return _id_of_text(text)


def _id_of_text(text: str) -> tuple[str, str]:
    """An id that is text, and why a text is none."""
    # DuckDB makes a join of a long IN (…), which keeps no order: rows could then be numbered only once all of them are at hand.
    stands_for_null = f"regexp_full_match({text}, {literal('|'.join(map(re.escape, NULL_IDS)))})"
    value = (
        f"CASE WHEN starts_with({text}, {REFUSED}) OR {stands_for_null} OR regexp_full_match({text}, {literal(_AS_FLOAT)}) "
        f"OR regexp_full_match({text}, {literal(_AS_STRUCT)}) THEN NULL "
        f"WHEN starts_with({text}, {AS_IS}) THEN {text}[4:] ELSE {text} END"
    )
    reason = (
        f"CASE WHEN {stands_for_null} THEN 'stands for a missing value; set null := […] where the file is read, or REX_IDS_LIKE_NULL if it is an id here' "
        f"WHEN regexp_full_match({text}, {literal(_AS_FLOAT)}) THEN 'is a number that was written as a float, and may have lost "
        "digits; use whole(x), or id(x) if it is right' "
        f"WHEN regexp_full_match({text}, {literal(_AS_STRUCT)}) THEN 'is a structure or a list; take a part of it, or say id(x) if it is right' "
        "ELSE 'is not an id' END"
    )
    return value, reason


def _time(kind: str, name: str, text: str) -> tuple[str, str]:
    if kind == "DATE" or kind.startswith("TIMESTAMP"):  # without a zone it is UTC, which the session's zone is
        moment = f"try_cast({name} AS TIMESTAMPTZ)"
        if kind in ("TIMESTAMP_NS", "TIMESTAMPTZ_NS"):
            moment = micros_of_nanos(name)
    elif kind == "VARCHAR":
        moment = f"CASE WHEN regexp_full_match({text}, {literal(_ISO)}) THEN try_cast({text} AS TIMESTAMPTZ) END"
    else:
        moment = "NULL::TIMESTAMPTZ"
    number = f"try_cast(regexp_extract({text}, '[0-9]+') AS DOUBLE)"
    units = " ".join(
        f"WHEN {number} < 1e{power} THEN '{unit}'" for power, unit in ((11, "unix_s"), (14, "unix_ms"), (17, "unix_us"))
    )
    reason = (
        f"CASE WHEN {moment} IS NOT NULL THEN 'is not a moment' WHEN regexp_full_match({text}, '[^0-9]*[0-9]+([.][0-9]*)?[)]?') "
        f"THEN 'is not a time from 1990 to 2100; a number of this size is ' || CASE {units} ELSE 'unix_ns' END || '(x)' "
        "ELSE 'is not a time such as 2026-01-31T18:00:00Z; use time(x, ''%d.%m.%Y'') or the like' END"
    )
    return f"CASE WHEN isfinite({moment}) THEN {moment} END", reason


def _list(where: str, column: Column, source: str, kind: str) -> Conversion:
    name, element = quoted(source), column.type.value_type
    if not kind.endswith("[]"):
        raise BadInput(
            f"{where}: {column.name} is a list, but {source} is of type {kind}; use words({source}, '|') for words between separators, or "
            f"parsed_list({source}) for ['fiction', 'drama']."
        )
    inner = kind[:-2]
    if inner not in ("VARCHAR", '"NULL"', "NULL", *INTEGERS):
        raise BadInput(f"{where}: {source} is a list of {inner.split('(')[0]}, but {column.name} is a list of texts.")
    if element != pa.string():
        raise BadInput(f"{where}: {column.name} cannot be imported.")
    item = "rex_trim(rex_e)"
    value, reason = (
        _id_of_text(item)
        if is_id(column.name)
        else (f"CASE WHEN NOT starts_with({item}, {REFUSED}) THEN {item} END", "'is not text'")
    )
    like_list = f"regexp_full_match({item}, '\\[.*|.*\\]')"
    wrong = f"CASE WHEN {like_list} THEN 'is a piece of a list; use parsed_list(x)' WHEN ({value}) IS NULL THEN {reason} END"
    there = f"list_filter({name}::VARCHAR[], lambda rex_e: {item} IS NOT NULL)"
    reasons = f"list_filter(list_transform({there}, lambda rex_e: {wrong}), lambda rex_e: rex_e IS NOT NULL)"
    values = f"CASE WHEN len({reasons}) = 0 THEN list_transform({there}, lambda rex_e: {value}) END"
    return Conversion(column, f"{name}::VARCHAR", values, f"'holds an element that ' || {reasons}[1]")


def _meant(column: Column) -> str:
    kinds = {
        TS: "time",
        pa.bool_(): "true or false",
        pa.int32(): "whole number",
        pa.float32(): "number",
        pa.float64(): "number",
    }
    return kinds.get(column.type, "id" if is_id(column.name) else "text")


def _meant_sql(column: Column) -> str:
    return literal(f"is not {'an' if _meant(column) == 'id' else 'a'} {_meant(column)}")
