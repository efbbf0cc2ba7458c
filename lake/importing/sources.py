"""The files that an import's SQL names, as views in DuckDB: text files as copies that DuckDB can read without guessing, Parquet as it is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from rich.progress import Progress

from features.duckdb_sql import literal, quoted
from features.errors import BadInput
from lake.importing.parquet_files import parquet_query
from lake.importing.records import Records
from lake.importing.script import Call, Script
from lake.importing.source_files import ORIGIN, SourceFile, find_files, matching_files
from lake.importing.text_dialect import Dialect, shown

_TEXT = {"delim", "quote", "escape", "header", "columns", "skip", "encoding", "multiline", "null"}
_OPTIONS = {"csv": _TEXT, "tsv": _TEXT, "jsonl": {"encoding"}, "lines": {"encoding", "skip"}, "parquet": set()}
_FORMS: dict[str, Any] = {
    **dict.fromkeys(("delim", "quote", "escape", "encoding"), str),
    **dict.fromkeys(("header", "multiline"), bool),
    "skip": Annotated[int, Field(ge=0)],
    "columns": Annotated[tuple[str, ...], Field(min_length=1)],
    "null": str | tuple[str, ...],
}
_VALUE_OF = {name: TypeAdapter(form, config=ConfigDict(strict=True)) for name, form in _FORMS.items()}


@dataclass
class Sources:
    """What is read, and where its copies are."""

    base: Path
    """What file names are relative to."""
    folder: Path
    """Where copies go: a path without a character that DuckDB would take for a pattern."""
    notes: list[str] = field(default_factory=list)
    """What the user who imports should know: matches of a pattern, records that take several lines, files without rows."""
    files: list[SourceFile] = field(default_factory=list)
    linked: list[Path] = field(default_factory=list)
    """Files that DuckDB reads itself, by way of a link: the paths that it must be allowed."""
    _copies: int = 0

    def create_views(self, db: duckdb.DuckDBPyConnection, script: Script, progress: Progress | None = None) -> None:
        """One view a call, named as the call. BadInput for a file that cannot be read exactly."""
        for call in script.calls:
            query = self._query(db, call, progress)
            db.execute(f"CREATE VIEW {quoted(call.text)} AS {query}")

    def refuse_changed(self) -> None:
        """BadInput when a file is not what it was when the import began."""
        for source in self.files:
            source.refuse_changed()

    def _query(self, db: duckdb.DuckDBPyConnection, call: Call, progress: Progress | None) -> str:
        options = _options(call)
        found = self._found(call)
        if call.reader == "parquet":
            return parquet_query(db, found, [self._link(source) for source in found])
        nulls = options.pop("null", ())
        dialect = _dialect(call.reader, options)
        dialect.check(shown(call.text))
        copies = [self._copy() for _ in found]
        records = [prepare(source, dialect, to, progress) for source, to in zip(found, copies, strict=True)]
        same_columns(records)
        self._note(records)
        scan = f"read_parquet([{', '.join(literal(copy) for copy in copies)}], union_by_name = true, hive_partitioning = false)"
        if call.reader == "jsonl":
            _refuse_malformed(db, scan)
            return f"SELECT json::JSON AS json, {', '.join(ORIGIN)} FROM {scan}"
        null = ", ".join(literal(one) for one in ("", *((nulls,) if isinstance(nulls, str) else nulls)))
        cells = [
            f"CASE WHEN {quoted(c)} NOT IN ({null}) THEN {quoted(c)} END AS {quoted(c)}" for c in records[0].columns
        ]
        own = {column.casefold() for column in records[0].columns}
        return f"SELECT {', '.join([*cells, *(name for name in ORIGIN if name not in own)])} FROM {scan}"

    def _found(self, call: Call) -> list[SourceFile]:
        names: Sequence[str]
        if call.source is None:
            names = matching_files(self.base, call.pattern)
            self.notes.append(f"{call.pattern} matches {', '.join(names)}")
        else:
            names = [call.source] if isinstance(call.source, str) else call.source
        found = find_files(self.base, names)
        real = [source.path.resolve() for source in found]
        if twice := next((source for source, path in zip(found, real, strict=True) if real.count(path) > 1), None):
            raise BadInput(f"{shown(call.text)} reads {twice.name} twice; its rows would count twice.")
        self.files += found
        return found

    def _note(self, records: Sequence[Records]) -> None:
        for each in records:
            if each.spanning:
                self.notes.append(f"{each.source.name}: {each.spanning:,} of {each.rows:,} records take several lines")
            if not each.rows:
                self.notes.append(f"{each.source.name} has no rows")

    def _copy(self) -> Path:
        self._copies += 1
        return self.folder / f"{self._copies:05d}.parquet"

    def _link(self, source: SourceFile) -> Path:
        """A name for DuckDB, which takes some characters of names for patterns."""
        link = self._copy()
        link.symlink_to(source.path.resolve())
        self.linked.append(source.path.resolve())
        return link


@contextmanager
def plain_path(folder: Path) -> Iterator[Path]:
    """Another path to `folder`, in which no character is part of a pattern: an escaped one would not be among the paths that DuckDB is allowed."""
    with tempfile.TemporaryDirectory(prefix="rex-") as place:
        if set(place) & set("*?[]{}"):
            raise BadInput(
                f"TMPDIR is {place!r}, which DuckDB takes for a pattern; set it to a path without brackets and stars."
            )
        path = Path(place) / "import"
        path.symlink_to(folder.resolve(), target_is_directory=True)
        yield path


def _options(call: Call) -> dict[str, Any]:
    known = _OPTIONS[call.reader]
    for name, value in call.options:
        if name not in known:
            others = f"it has {', '.join(sorted(known))}" if known else "it has none"
            raise BadInput(f"{shown(call.text)}: {call.reader} has no option {name!r}; {others}.")
        try:
            _VALUE_OF[name].validate_python(value)
        except ValidationError as error:
            raise BadInput(f"{shown(call.text)}: {name} cannot be {value!r} ({error.errors()[0]['msg']}).") from error
    return dict(call.options)


def _dialect(reader: str, options: dict[str, Any]) -> Dialect:
    if reader in ("jsonl", "lines"):
        column = "json" if reader == "jsonl" else "line_text"
        is_json = reader == "jsonl"
        return Dialect("", "", "", header=False, columns=(column,), skips_blank=is_json, **options)
    given = {"delim": "\t"} | options if reader == "tsv" else dict(options)
    given.setdefault("quote", '"' if len(given.get("delim", ",")) == 1 else "")
    given.setdefault("escape", given["quote"])
    return Dialect(**given)


def _refuse_malformed(db: duckdb.DuckDBPyConnection, scan: str) -> None:
    bad = db.execute(
        f"SELECT file, line, json, count(*) OVER () FROM {scan} WHERE NOT json_valid(json) LIMIT 3"
    ).fetchall()
    if bad:
        lines = ", ".join(f"line {line} ({shown(text)})" for _, line, text, _ in bad)
        more = f" and {bad[0][3] - len(bad):,} more" if bad[0][3] > len(bad) else ""
        hint = (
            " It looks like one JSON array over several lines; write one value a line."
            if bad[0][2].strip() == "["
            else ""
        )
        raise BadInput(f"{bad[0][0]}: no JSON value of its own in {lines}{more}; each line must hold one.{hint}")


def prepare(source: SourceFile, dialect: Dialect, to: Path, progress: Progress | None = None) -> Records:
    """Copies the records of `source` to the Parquet file `to`, in a stream; what was found is in the Records.

    Cells are text as it stands in the file. A file that has a column called `file` or `line` keeps its own.
    """
    records, writer = Records(source, dialect), None
    task = progress.add_task(f"read {source.name}", total=None) if progress else None
    try:
        for starts, columns in records.batches():
            table = _table(source.name, records.columns, starts, columns)
            writer = writer or pq.ParquetWriter(to, table.schema, compression="lz4")
            writer.write_table(table)
            if progress is not None and task is not None:
                progress.update(task, completed=records.rows)
        if writer is None:
            none = [pa.array([], pa.string())] * len(records.columns)
            pq.write_table(_table(source.name, records.columns, pa.array([], pa.int64()), none), to)
    except BadInput:
        source.refuse_changed()  # a file that is still written to may look like any kind of broken file
        raise
    finally:
        if writer is not None:
            writer.close()
    source.refuse_changed()
    if progress is not None and task is not None:
        progress.update(task, total=records.rows, completed=records.rows)
    return records


def _table(name: str, columns: tuple[str, ...], starts: pa.Array, cells: list[pa.Array]) -> pa.Table:
    file = pa.DictionaryArray.from_arrays(np.zeros(len(starts), np.int8), pa.array([name]))
    own = {column.casefold() for column in columns}
    origin = {"file": file, "line": starts}
    return pa.table(
        dict(zip(columns, cells, strict=True)) | {name: values for name, values in origin.items() if name not in own}
    )


def same_columns(found: list[Records]) -> None:
    """BadInput when files that are read as one table do not have the same columns, whatever their order."""
    first, *others = found
    for other in others:
        for one, two in ((first, other), (other, first)):
            known = {column.casefold() for column in two.columns}
            for column in one.columns:
                if column.casefold() not in known:
                    raise BadInput(
                        f"{two.source.name} has no column {column!r}, which {one.source.name} has; read them separately and "
                        "combine them with UNION ALL BY NAME."
                    )
