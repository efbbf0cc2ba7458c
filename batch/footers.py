"""Checks Parquet footers against a declared schema before Spark opens a file, and says how Spark has to read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import BadInput
from features.schema import Column, Dataset

MISSING = ""
"""Stored form of a column that a file lacks, or holds nothing but nulls of no type in."""
NANOS = "bigint"
"""Stored form of a timestamp in nanoseconds, which Spark has no type for."""

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


@dataclass(frozen=True, slots=True)
class Group:
    """Files of one dataset that store their columns alike, so that one scan reads them all."""

    stored: tuple[tuple[str, str], ...]
    """(declared column, Spark type it is stored as); MISSING where the files lack it."""
    files: tuple[Path, ...]
    rows: int


def data_files(folder: Path) -> list[Path]:
    """Every Parquet file under `folder`, sorted. What starts with `_` or `.` is not data."""
    return sorted(
        path
        for path in folder.rglob("*.parquet")
        if not any(part.startswith(("_", ".")) for part in path.relative_to(folder).parts)
    )


def inspect(dataset: Dataset, files: list[Path]) -> list[Group]:
    """Groups of `files`. BadInput naming file, column, found and expected type when one does not fit the declaration."""
    found: dict[tuple[tuple[str, str], ...], list[Path]] = {}
    rows: dict[tuple[tuple[str, str], ...], int] = {}
    for path in files:
        schema, physical, count = _footer(dataset, path)
        columns = [c for c in dataset.columns if c.name not in dataset.partition_by]
        stored = tuple((column.name, _stored(dataset, path, column, schema, physical)) for column in columns)
        found.setdefault(stored, []).append(path)
        rows[stored] = rows.get(stored, 0) + count
    return [Group(stored, tuple(paths), rows[stored]) for stored, paths in found.items()]


def row_count(dataset: Dataset, folder: Path) -> int:
    """Rows in all files under `folder`. BadInput when one cannot be read."""
    return sum(_footer(dataset, path)[2] for path in data_files(folder))


def _footer(dataset: Dataset, path: Path) -> tuple[pa.Schema, dict[str, str], int]:
    """Arrow schema, physical type by column path, number of rows."""
    try:
        with pq.ParquetFile(path) as file:
            leaves = (file.schema.column(i) for i in range(len(file.schema)))
            return file.schema_arrow, {leaf.path: leaf.physical_type for leaf in leaves}, file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise BadInput(
            f"{path} (dataset {dataset.name}) is not a readable Parquet file ({str(error).splitlines()[0]}); write it again or remove it."
        ) from error


def _stored(dataset: Dataset, path: Path, column: Column, schema: pa.Schema, physical: dict[str, str]) -> str:
    if column.name not in schema.names:
        if column.required:
            raise BadInput(
                f"{path} has no column {column.name!r}, which dataset {dataset.name} needs ({column.meaning}); add it."
            )
        return MISSING
    found = schema.field(column.name).type
    stored = _readable_as(column.type, found, physical.get(column.name) == "INT96")
    if stored is None:
        raise BadInput(
            f"{path}: column {column.name!r} has type {found}, but dataset {dataset.name} expects {column.type}; write the file again with that type."
        )
    return stored


def _readable_as(declared: pa.DataType, found: pa.DataType, int96: bool = False) -> str | None:
    """Spark type in which a column of Arrow type `found` is read; None where it cannot become `declared` safely."""
    if pa.types.is_null(found):
        return MISSING
    if pa.types.is_dictionary(found):
        return _readable_as(declared, found.value_type)
    if pa.types.is_list(declared):
        if not (pa.types.is_list(found) or pa.types.is_large_list(found)):
            return None
        element = _readable_as(declared.value_type, found.value_type)
        return f"array<{element}>" if element else element
    if pa.types.is_timestamp(declared):
        return _timestamp(found, int96)
    if pa.types.is_string(declared):
        return (
            "string"
            if pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_string_view(found)
            else None
        )
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
