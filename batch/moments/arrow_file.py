"""Several Arrow tables in one file, which appears whole or not at all and is read in place, by any number of processes.

A file is named after all that it is made of, so that it is never written twice, nor read once it is outdated: the partitions of the
lake, and the code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from itertools import chain
from pathlib import Path

import pyarrow as pa

import batch
import features
from features.errors import BadInput
from features.lake_files import data_files
from features.lake_layout import dataset_folder, partition_folder
from features.snapshot import digest
from lake.drafts import replacing

Tables = Mapping[str, pa.Table]


def written(lake: Path, name: str, partitions: Mapping[str, datetime], make: Callable[[], Tables]) -> Path:
    """The file `name` of what `make` makes of these partitions (dataset → as_of), which is asked unless the file is there."""
    files = (
        path for dataset, as_of in partitions.items() for path in data_files(partition_folder(lake, dataset, as_of))
    )
    made_of = [[path.relative_to(lake).as_posix(), (stat := path.stat()).st_size, stat.st_mtime_ns] for path in files]
    folder = dataset_folder(lake, "_moments")
    path = folder / f"{name}.{digest(json.dumps([_code(), sorted(made_of)]).encode())}.arrow"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_tables(path, make())
    return path


def remove_files(lake: Path, unless: Callable[[str], bool]) -> None:
    """Removes the files of whose names `unless` is not true; whoever has one open keeps it."""
    for path in dataset_folder(lake, "_moments").glob("*.arrow"):
        if not unless(path.name):
            path.unlink(missing_ok=True)


def write_tables(path: Path, tables: Tables) -> None:
    """Writes the file: first the names of the tables, then one Arrow stream a table."""
    names = pa.table({"name": [*tables]})
    with replacing(path) as draft, pa.OSFile(str(draft), "wb") as sink:
        for table in chain([names], tables.values()):
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table.combine_chunks())


def read_tables(path: Path) -> dict[str, pa.Table]:
    """The tables, which are views of the file. BadInput when it is damaged."""
    try:
        with pa.memory_map(str(path)) as source:
            names = pa.ipc.open_stream(source).read_all()["name"].to_pylist()
            return {name: pa.ipc.open_stream(source).read_all() for name in names}
    except (OSError, pa.ArrowInvalid) as error:
        raise BadInput(f"{path} is damaged ({error}); remove it, and it is made again.") from error


def column(table: pa.Table, name: str) -> pa.Array:
    """A column in one piece, in place: `combine_chunks` would copy it."""
    chunks = table[name].chunks
    return chunks[0] if len(chunks) == 1 else table[name].combine_chunks()


@cache
def _code() -> str:
    """Of everything in `batch` and `features`: what decides what is in a file."""
    sources = chain.from_iterable(sorted(Path(package.__path__[0]).rglob("*.py")) for package in (batch, features))
    return digest(b"".join(path.read_bytes() for path in sources))
