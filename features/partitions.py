"""Which partitions of derived datasets a lake has: what their manifests name, not what their folders hold.

A manifest is written after all that it names, and one rename makes both visible. A partition of another version of its dataset, or
with other columns, counts as not written: a reader would take columns that it lacks for null.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq

from features.datasets import dataset
from features.errors import BadInput
from features.lake_files import data_files
from features.lake_layout import PARTITION_FORMAT, PARTITIONS, dataset_folder, partition_folder
from features.schema import Dataset

MANIFEST = "_manifest.json"
"""In the folder of the partition. No engine takes a name that begins with `_` for data."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What one partition was written as."""

    version: int
    """That of the dataset when it was written."""
    columns: tuple[str, ...]
    """Those of the dataset when it was written, `as_of` included."""
    files: dict[str, tuple[int, int]]
    """File name → rows, bytes."""
    constants: str = ""
    """Version of the constants that its rows were computed with (batch/constants.py); empty: none had a say."""

    @property
    def rows(self) -> int:
        """Of all files."""
        return sum(rows for rows, _ in self.files.values())


def write_manifest(declared: Dataset, folder: Path, constants: str = "") -> None:
    """Declares the data files in `folder` to be a whole partition, before it is put in its place."""
    files = {path.name: (pq.read_metadata(path).num_rows, path.stat().st_size) for path in data_files(folder)}
    manifest = Manifest(declared.version, declared.names, files, constants)
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1) + "\n")


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a partition, whatever its version; None: it has none. BadInput when it is damaged."""
    path = folder / MANIFEST
    try:
        told = json.loads(path.read_bytes())
        files = {str(name): (int(rows), int(size)) for name, (rows, size) in told["files"].items()}
        return Manifest(int(told["version"]), tuple(told["columns"]), files, str(told.get("constants", "")))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{path} is damaged ({error!r}); remove {folder}, and run the batch for it again.") from error


def shortcomings(lake: Path, names: Collection[str], as_of: datetime, constants: str = "") -> dict[str, str]:
    """Those of the derived datasets that have not been written for a moment as they are declared now → why: what their partition lacks.

    `constants`: their version, where partitions of others do not count either.
    """
    found = {name: _shortcoming(dataset(name), partition_folder(lake, name, as_of), constants) for name in names}
    return {name: why for name, why in found.items() if why}


def is_written(lake: Path, names: Collection[str], as_of: datetime, constants: str = "") -> bool:
    """Whether all the derived datasets have been written for a moment, as they are declared now (and with these constants)."""
    return not shortcomings(lake, names, as_of, constants)


def partitions(lake: Path, name: str) -> dict[datetime, str]:
    """The moments for which a derived dataset has a partition, in UTC, ascending → why that counts as not written; empty: it counts."""
    folders = sorted(dataset_folder(lake, name).glob(PARTITIONS))
    return {_moment(folder): _shortcoming(dataset(name), folder) for folder in folders}


def written(lake: Path, name: str) -> list[datetime]:
    """The moments for which a derived dataset has been written as it is declared now, in UTC, ascending."""
    return [as_of for as_of, why in partitions(lake, name).items() if not why]


def constants_of(lake: Path, names: Collection[str], as_of: datetime) -> set[str]:
    """The versions of the constants that these partitions were computed with."""
    found = (read_manifest(partition_folder(lake, name, as_of)) for name in names)
    return {manifest.constants for manifest in found if manifest is not None and manifest.constants}


def partition_files(lake: Path, name: str, as_of: datetime, remedy: str = "", constants: str = "") -> list[Path]:
    """The files of one partition. BadInput when it has not been written as the dataset is declared now (and with these constants);
    `remedy`: what to do then."""
    folder = partition_folder(lake, name, as_of)
    if why := _shortcoming(dataset(name), folder, constants):
        raise BadInput(f"{folder} {why}; {remedy or f'run `rex batch --as-of {as_of.isoformat()}` first'}.")
    manifest = read_manifest(folder)
    return [folder / file for file in sorted(manifest.files)] if manifest else []


def _moment(folder: Path) -> datetime:
    try:
        return datetime.strptime(folder.name, f"as_of={PARTITION_FORMAT}").replace(tzinfo=UTC)
    except ValueError:
        raise BadInput(f"{folder} is not named as a partition is (as_of=2026-01-31T00-00-00Z); remove it.") from None


def _shortcoming(declared: Dataset, folder: Path, constants: str = "") -> str:
    """Why the partition in `folder` counts as not written, as a predicate; empty: it counts."""
    manifest = read_manifest(folder)
    if manifest is None:
        return "has no manifest" if folder.is_dir() else "has not been written yet"
    if manifest.version != declared.version:
        return f"is of version {manifest.version}, not {declared.version}"
    if changed := sorted({*manifest.columns} ^ {*declared.names}):
        return f"was written before these columns were added or removed: {', '.join(changed)}"
    if constants and manifest.constants and manifest.constants != constants:
        return f"was computed with the constants {manifest.constants}, not {constants}"
    for name, (_, size) in sorted(manifest.files.items()):
        path = folder / name
        if not path.is_file() or path.stat().st_size != size:
            return f"lacks {name} as its manifest names it"
    return ""
