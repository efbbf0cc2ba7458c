"""Acts on what is wrong: bad raw rows go to quarantine or stop the run, bad derived datasets stop it before they are in place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from batch.io import Staged, clear_leftovers, promote, write_quarantine
from features.datasets import dataset as dataset_of
from features.errors import BadInput
from features.lake_files import data_files
from features.lake_layout import PARTITIONS, duckdb_path
from features.partitions import partition_files, read_manifest
from features.schema import Dataset
from features.verdicts import REPEATED, too_many

REASONS_SHOWN = 3
COUNTS_FILE = "counts.json"


@dataclass(frozen=True, slots=True)
class Validation:
    """What became of the rows of a raw dataset that were known by an as_of."""

    dataset: str
    rows: int
    good: int
    repeated: int
    """Exact duplicates with an id: dropped."""
    quarantined: dict[str, int]
    """Reason → rows."""


def quarantine(
    good: Path, bad: Mapping[str, Sequence[Path]], lake: Path, dataset: Dataset, as_of: datetime
) -> Validation:
    """Moves rows judged `bad` (reason → files) and their counts to `<lake>/quarantine/<dataset>/as_of=…/`.

    `good` is the directory of the good ones. BadInput, naming the top reasons and an example, when the bad are more
    than the dataset allows.
    """
    counts = {reason: sum(pq.read_metadata(path).num_rows for path in files) for reason, files in bad.items()}
    outcome = _outcome(dataset, sum(pq.read_metadata(path).num_rows for path in data_files(good)), counts)
    folder = lake / "quarantine" / dataset.name
    clear_leftovers(folder)
    staged = Staged.of(folder, as_of)
    write_quarantine(staged.path, {reason: bad[reason] for reason in outcome.quarantined}, dataset)
    (staged.path / COUNTS_FILE).write_text(json.dumps(asdict(outcome), sort_keys=True, indent=1) + "\n")
    promote([staged])
    _refuse_too_many(dataset, outcome, staged.place)
    return outcome


def check_dataset(lake: Path, name: str, as_of: datetime) -> int:
    """Rows of one written partition, after checking it: columns and types, grain, nulls, declared checks.

    BadInput when it has not been written or fails a check of level `error`.
    """
    return check_partition(dataset_of(name), partition_files(lake, name, as_of))


def check_partition(dataset: Dataset, files: Sequence[Path]) -> int:
    """As `check_dataset`, for the files of a partition that need not be in its place yet."""
    rows, folder = _scan(files), files[0].parent
    _check_columns(dataset, folder, rows.limit(0).to_arrow_table().schema)
    failures = {**_error_checks(dataset), "rows": "count(*)"}
    counted = _counted(rows, failures)
    total = counted.pop("rows")
    failed = {name: count for name, count in counted.items() if count}
    if failed:
        listed = "; ".join(f"{name}: {count:,} rows" for name, count in failed.items())
        raise BadInput(f"Dataset {dataset.name} in {folder} fails its checks ({listed}); nothing of it is used.")
    return total


def refuse_emptied(dataset: Dataset, staged: Sequence[Staged]) -> None:
    """BadInput when a partition without rows would replace one with rows, or be the first after one, unless that may be."""
    new = _manifest_rows(partition.path for partition in staged)
    if dataset.may_end or all(new.values()):
        return
    old = _manifest_rows(staged[0].place.parent.glob(PARTITIONS))
    for partition in staged:
        if new[partition.place.name]:
            continue
        known = old | {name: rows for name, rows in new.items() if name != partition.place.name}
        earlier = max((name for name in known if name < partition.place.name), default=partition.place.name)
        for name in {partition.place.name, earlier} & known.keys():
            if rows := known[name]:
                raise BadInput(
                    f"Dataset {dataset.name} has 0 rows as of {partition.as_of.isoformat()}, where "
                    f"{partition.place.with_name(name)} has {rows:,}; nothing of it was replaced. Look for what is missing in "
                    "its inputs and run again; if nothing is right, remove its earlier partitions first."
                )


def _manifest_rows(partitions: Iterable[Path]) -> dict[str, int]:
    """Name of each partition that has a manifest, of whatever version → its rows."""
    return {path.name: manifest.rows for path in partitions if (manifest := read_manifest(path)) is not None}


def warnings_of(dataset: Dataset, files: Sequence[Path]) -> list[str]:
    """Checks of level `warn` that fail, one sentence each."""
    rows = _scan(files)
    counts = {c.name: f"count(*) FILTER (WHERE ({c.sql}) IS NOT TRUE)" for c in dataset.checks if c.level == "warn"}
    found = _counted(rows, counts) if counts else {}
    return [f"{dataset.name}: check {name} fails for {count:,} rows" for name, count in found.items() if count]


def _scan(files: Sequence[Path]) -> duckdb.DuckDBPyRelation:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection.read_parquet([duckdb_path(path) for path in files], hive_partitioning=False)


def _counted(rows: duckdb.DuckDBPyRelation, aggregates: Mapping[str, str]) -> dict[str, int]:
    answer = rows.aggregate(", ".join(f'{sql} AS "{name}"' for name, sql in aggregates.items())).fetchall()[0]
    return dict(zip(aggregates, answer, strict=True))


def _error_checks(dataset: Dataset) -> dict[str, str]:
    """Name → aggregate that counts failing rows."""
    grain = ", ".join(f'"{name}"' for name in dataset.grain if name != "as_of")
    required = [c.name for c in dataset.columns if c.required and c.name != "as_of"]
    return {
        f"grain ({grain}) is not unique".replace('"', ""): f"count(*) - count(DISTINCT ({grain}))",
        **{f"{name} is null": f'count(*) FILTER (WHERE "{name}" IS NULL)' for name in required},
        **{c.name: f"count(*) FILTER (WHERE ({c.sql}) IS NOT TRUE)" for c in dataset.checks if c.level == "error"},
    }


def _check_columns(dataset: Dataset, folder: Path, found: pa.Schema) -> None:
    expected = {column.name: column.type for column in dataset.columns if column.name != "as_of"}
    if {name: str(found.field(name).type).replace("child 0, ", "") for name in found.names}.keys() != expected.keys():
        raise BadInput(
            f"Dataset {dataset.name} in {folder} has the columns {found.names}, not {list(expected)}; run the job again."
        )


def _outcome(dataset: Dataset, good: int, counts: Mapping[str, int]) -> Validation:
    by_count = sorted(counts.items(), key=lambda c: (-c[1], c[0]))
    return Validation(
        dataset=dataset.name,
        rows=good + sum(counts.values()),
        good=good,
        repeated=counts.get(REPEATED, 0),
        quarantined={reason: n for reason, n in by_count if reason != REPEATED},
    )


def _refuse_too_many(dataset: Dataset, outcome: Validation, place: Path) -> None:
    found = too_many(dataset, outcome.rows, outcome.quarantined)
    if found is None:
        return
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in list(outcome.quarantined.items())[:REASONS_SHOWN])
    raise BadInput(
        f"Dataset {dataset.name}: {found[0]:,} of {outcome.rows:,} rows are bad (limit {found[1]:.0%}; {reasons}), "
        f"for example {_example(place, next(iter(outcome.quarantined)))}; see {place}, correct them and run again."
    )


def _example(place: Path, reason: str) -> str:
    """One quarantined row, without its nulls."""
    rows = _scan([path for path in data_files(place) if path.name != COUNTS_FILE])
    found = rows.filter(f"reason = '{reason}'").limit(1).to_arrow_table().to_pylist()[0]
    return ", ".join(f"{name}={value!s}" for name, value in found.items() if value is not None)
