"""In which form a file may hold a column of a declared type. A form is the type that Spark reads it as."""

from __future__ import annotations

import pyarrow as pa

MISSING = ""
"""Form of a column that a file lacks, or holds nothing but nulls of no type in."""
NANOS = "bigint"
"""Form of a timestamp in nanoseconds, which Spark has no type for."""
BINARY = "binary"
"""Form of text without the mark that it is UTF-8, as Impala and others write it."""

_INTEGERS = {
    pa.int8(): "tinyint",
    pa.int16(): "smallint",
    pa.int32(): "int",
    pa.int64(): "bigint",
    pa.uint8(): "smallint",
    pa.uint16(): "int",
    pa.uint32(): "bigint",
}
_FLOATS = {pa.float32(): "float", pa.float64(): "double"}


def form_of(declared: pa.DataType, found: pa.DataType, int96: bool = False) -> str | None:
    """The form in which a column of Arrow type `found` is read; None where it cannot become `declared` safely."""
    if pa.types.is_null(found):
        return MISSING
    if pa.types.is_dictionary(found):
        return form_of(declared, found.value_type)
    if pa.types.is_list(declared):
        if not (pa.types.is_list(found) or pa.types.is_large_list(found) or pa.types.is_fixed_size_list(found)):
            return None
        element = form_of(declared.value_type, found.value_type)
        return f"array<{element}>" if element else element
    if pa.types.is_timestamp(declared):
        return _timestamp(found, int96)
    if pa.types.is_string(declared):
        return _text(found)
    if pa.types.is_date(declared):
        return "date" if pa.types.is_date32(found) else MISSING
    if pa.types.is_boolean(declared):
        return "boolean" if pa.types.is_boolean(found) else None
    if pa.types.is_floating(declared):
        return {**_INTEGERS, **_FLOATS}.get(found)
    return _INTEGERS.get(found)


def _timestamp(found: pa.DataType, int96: bool) -> str | None:
    """A timestamp without a zone is UTC, which is the session's zone, so Spark's cast does it."""
    if not pa.types.is_timestamp(found):
        return None
    if int96:
        return "timestamp"
    if found.unit == "ns":
        return NANOS
    return "timestamp" if found.tz else "timestamp_ntz"


def _text(found: pa.DataType) -> str | None:
    if pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_string_view(found):
        return "string"
    return BINARY if pa.types.is_binary(found) or pa.types.is_large_binary(found) else None
