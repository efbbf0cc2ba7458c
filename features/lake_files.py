"""Which files a dataset has, and how each stores the declared columns: what Spark and DuckDB have to know before they open one.

Whatever wrote the files: columns match regardless of case, text may lack its mark, a column may be a folder `name=value`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import BadInput
from features.lake_layout import duckdb_path, hadoop_path
from features.schema import Column, Dataset, by_name
from features.stored_types import MISSING, form_of

CODECS = frozenset({"UNCOMPRESSED", "SNAPPY", "GZIP", "ZSTD", "LZ4"})
"""What Spark and DuckDB decompress without further libraries."""
NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"
"""Value of a partition folder that stands for null."""
DATE_FOLDERS = frozenset({"year", "month", "day", "hour", "date", "dt", "ds"})
"""Partition folders that only say when; so does any folder whose value is a date."""
ARCHIVED = re.compile(r"archive-.+-\d+-\d+-\d+-\d+-[0-9a-f]{8}\.parquet")
"""Names of the files that the online service writes (online/streams/archive_files.py): stream, first and last entry, digest."""
FILE, ROW = "_rex_file", "file_row_number"
"""What DuckDB adds to a scan: the path, under a name of ours, and the number of a row in its file, from 0, under a name of its own."""
PROBLEMS_SHOWN = 3
GZIP, PARQUET = b"\x1f\x8b", b"PAR1"


@dataclass(frozen=True, slots=True)
class Stored:
    """How files hold one declared column."""

    name: str
    """The column's name in the files, in their own case; empty: not there."""
    form: str = MISSING
    """See `features.stored_types`."""
    value: str | None = None
    """The partition folder's value in place of a column; None: it has none."""


@dataclass(frozen=True, slots=True)
class Group:
    """Files of one dataset that store its columns alike, so that one scan reads them all."""

    stored: tuple[Stored, ...]
    """Of each declared column, in declared order."""
    files: tuple[Path, ...]
    rows: int
    has_row_numbers: bool
    """Whether ROW is the number of a row; else it is a column that the files have, whatever is in it."""


def raw_layer(lake: Path) -> Path:
    """Where the raw datasets lie. BadInput when there is no such place."""
    if not (lake / "raw").is_dir():
        raise BadInput(
            f"There is no lake at {lake} (it has no directory raw/); make one with `rex simulate` or `rex import`."
        )
    return lake / "raw"


def data_files(folder: Path) -> list[Path]:
    """Every file under `folder`, sorted, linked folders included. What starts with `_` or `.` is not data."""
    return sorted(_walk(folder, frozenset()))


def _walk(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    here = os.path.realpath(folder)
    if not folder.is_dir() or here in above:  # a link to a folder above it would go on for ever
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(("_", ".")):
                continue
            if entry.is_dir():
                yield from _walk(Path(entry.path), above | {here})
            else:
                yield Path(entry.path)


def inspect(dataset: Dataset, folder: Path, partial: bool = False) -> list[Group]:
    """The files under `folder`, in groups. BadInput naming each file that cannot be read as declared, and why.

    `partial`: a file may lack required columns.
    """
    found: dict[tuple[tuple[Stored, ...], bool], list[Group]] = {}
    problems = []
    for path in data_files(folder):
        try:
            one = _inspect(dataset, folder, path, partial)
            found.setdefault((one.stored, one.has_row_numbers), []).append(one)
        except BadInput as problem:
            problems.append(str(problem))
    if problems:
        more = f" ({len(problems) - PROBLEMS_SHOWN:,} more files cannot be read.)"
        raise BadInput(" ".join(problems[:PROBLEMS_SHOWN]) + (more if len(problems) > PROBLEMS_SHOWN else ""))
    return [
        Group(stored, tuple(path for one in alike for path in one.files), sum(one.rows for one in alike), numbered)
        for (stored, numbered), alike in found.items()
    ]


@contextmanager
def unchanged(files: Iterable[Path]) -> Iterator[None]:
    """BadInput when a file has become another by the end, also where reading it has failed: that is why, then."""
    before = {path: stamp(path) for path in files}
    try:
        yield
    finally:
        for path, was in before.items():
            refuse_changed(str(path), path, was)


Stamp = tuple[int, int, int] | None
"""Inode, size and time of change of a file; null: it is not there."""


def stamp(path: Path) -> Stamp:
    """What a file is now."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def refuse_changed(name: str, path: Path, before: Stamp) -> None:
    """BadInput when the file is not what it was."""
    if stamp(path) != before:
        raise BadInput(
            f"{name} has changed while it was read; run it again when nothing writes to it. "
            "Write new files under a name that starts with `_`, and rename them when they are whole."
        )


def _inspect(dataset: Dataset, folder: Path, path: Path, partial: bool) -> Group:
    duckdb_path(path), hadoop_path(path)  # before one engine has read what the other cannot
    schema, metadata = _footer(dataset, path)
    names = by_name(str(path), schema.names)
    if FILE in names:
        raise BadInput(f"{path}: Rex needs the name {FILE} for itself; give the column {names[FILE]!r} another name.")
    values = _folder_values(dataset, path, path.relative_to(folder).parts[:-1])
    leaves = [metadata.schema.column(i) for i in range(metadata.num_columns)]
    int96 = {leaf.path for leaf in leaves if leaf.physical_type == "INT96"}
    stored = tuple(_stored(dataset, path, column, schema, names, values, int96) for column in dataset.columns)
    for column in dataset.columns if not partial else ():
        if column.required and column.name not in values and column.name.casefold() not in names:
            raise BadInput(
                f"{path} has no column {column.name!r}, which dataset {dataset.name} needs ({column.meaning}); add it."
            )
    _refuse_codecs(path, metadata, {one.name for one in stored})
    return Group(stored, (path,), metadata.num_rows, ROW not in names)


def _footer(dataset: Dataset, path: Path) -> tuple[pa.Schema, pq.FileMetaData]:
    try:
        if why := _why_no_parquet(path):
            raise BadInput(f"{path} (dataset {dataset.name}) is not a readable Parquet file: {why}.")
        with pq.ParquetFile(path) as file:
            return file.schema_arrow, file.metadata
    except PermissionError:
        raise BadInput(f"{path} cannot be read by this user; grant it read permission.") from None
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"{path} (dataset {dataset.name}) is not a readable Parquet file: {reason}.") from error


def _why_no_parquet(path: Path) -> str:
    """What is wrong with a file by its first and last bytes; empty: nothing."""
    if path.is_symlink() and not path.exists():
        return f"it is a symbolic link to {os.readlink(path)}, which does not exist; correct the link"
    if not path.is_file():
        return "it is no regular file"
    if not path.stat().st_size:
        return "it is empty (0 bytes), because writing it was interrupted; write it again"
    with path.open("rb") as file:
        first = file.read(len(PARQUET))
        file.seek(max(0, path.stat().st_size - len(PARQUET)))
        last = file.read()
    if first.startswith(GZIP):
        return "it is compressed as a whole; decompress it with gunzip, since Parquet compresses its columns itself"
    if first not in (PARQUET, b"PARE"):
        return "it holds something other than Parquet; write it as Parquet, or keep it elsewhere or under a name that starts with `_`"
    return (
        ""
        if last == first
        else "its end is missing, because writing or copying it was interrupted; write or copy it again"
    )


def _folder_values(dataset: Dataset, path: Path, folders: Sequence[str]) -> dict[str, str | None]:
    """Declared column → value, of the folders `name=value` between the dataset's folder and the file."""
    declared = {column.name.casefold(): column.name for column in dataset.columns}
    values = {}
    for folder in folders:
        name, equals, text = folder.partition("=")
        value = unquote(text)
        if equals and name.casefold() in declared:
            values[declared[name.casefold()]] = None if value == NULL_FOLDER else value
        elif equals and name.casefold() not in DATE_FOLDERS and not _is_date(value):
            raise BadInput(
                f"{path}: the folder {folder!r} stands for a column {name!r}, which dataset {dataset.name} does not have "
                f"(it has {', '.join(dataset.names)}); rename the folder."
            )
    return values


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _stored(
    dataset: Dataset,
    path: Path,
    column: Column,
    schema: pa.Schema,
    names: dict[str, str],
    values: dict[str, str | None],
    int96: set[str],
) -> Stored:
    """The file's own column wins over a folder."""
    name = names.get(column.name.casefold())
    if name is None:
        if column.name in dataset.partition_by:
            return Stored("")  # readers take it from the path
        if column.name in values:
            return Stored("", value=_checked(path, column, values[column.name]))
        return Stored("")
    found = schema.field(name).type
    form = form_of(column.type, found, name in int96)
    if form is None:
        raise BadInput(
            f"{path}: column {name!r} has type {found}, but dataset {dataset.name} expects {column.type}; write the file again with that type."
        )
    return Stored(name if form else "", form)


def _checked(path: Path, column: Column, value: str | None) -> str | None:
    """A folder's value, after seeing that it can become the column's type."""
    try:
        if pa.types.is_timestamp(column.type) and value is not None:
            moment = datetime.fromisoformat(value)  # in one form, for the engines differ in what they take
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()
        pa.scalar(value, pa.string()).cast(column.type)
    except (ValueError, pa.ArrowException) as error:
        raise BadInput(
            f"{path}: the folder {column.name}={value} cannot stand for column {column.name!r} of type {column.type}; rename it."
        ) from error
    return value


def _refuse_codecs(path: Path, metadata: pq.FileMetaData, names: set[str]) -> None:
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for chunk in (group.column(i) for i in range(group.num_columns)):
            if chunk.path_in_schema.partition(".")[0] in names and chunk.compression not in CODECS:
                raise BadInput(
                    f"{path}: column {chunk.path_in_schema!r} is compressed with {chunk.compression}, which Spark cannot "
                    f"decompress; write the file with zstd, snappy or gzip."
                )
