"""Text files as tables that DuckDB can read without guessing: Parquet of text cells, with the file and the line of every record."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import Progress

from features.errors import BadInput
from lake.importing.records import Records
from lake.importing.source_files import SourceFile
from lake.importing.text_dialect import Dialect

ORIGIN = ("file", "line")
"""Columns that every table has besides its own: the file as the SQL names it, and the first line of the record (Parquet: the row)."""


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
