"""Stream entries as Parquet files of the raw lake, durable before anyone says that they are there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from features.choices import EDGE_TYPES
from features.datasets import dataset
from features.errors import BadInput
from features.schema import TS
from lake.drafts import replace_bytes
from lake.writer import conform
from online.served_log import served_rows
from online.stream import StreamEntry

Place = tuple[str, str]
"""Dataset and partition; no partition: empty."""
Row = Mapping[str, Any]
NO_ROW = (ValueError, TypeError, KeyError, AttributeError, OverflowError, pa.ArrowException, BadInput)
"""What turning a bad document into a row raises: no JSON, no object, a field missing or of a wrong type."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Converted:
    """Stream entries as rows."""

    entries: list[StreamEntry]
    """Those that are in `tables`."""
    tables: dict[Place, pa.Table]
    refused: dict[bytes, str]
    """Id → why, of those that cannot become rows."""


def convert(entries: Sequence[StreamEntry]) -> Converted:
    """The rows that entries stand for. A bad entry does not keep the others back."""
    try:
        return Converted(list(entries), _tables(entries), {})
    except NO_ROW:
        refused = {entry[0]: reason for entry in entries if (reason := _why_not(entry))}
        good = [entry for entry in entries if entry[0] not in refused]
        return Converted(good, _tables(good), refused)


def write(lake: Path, stream: str, converted: Converted) -> None:
    """Writes the rows, durably. The same entries make the same files, so a repetition replaces them.

    Names also hold a digest of all entries' ids: a file never replaces one that was made of others.
    """
    if not converted.entries:
        return
    ids = [entry_id for entry_id, _ in converted.entries]
    digest = hashlib.blake2b(b" ".join(ids), digest_size=4).hexdigest()
    source = stream.rpartition("{")[2].replace("}:", "-")
    name = f"archive-{source}-{ids[0].decode()}-{ids[-1].decode()}-{digest}.parquet"
    for (dataset_name, partition), table in converted.tables.items():
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        replace(lake / "raw" / dataset_name / partition / name, sink.getvalue().to_pybytes())


def replace(path: Path, data: bytes) -> None:
    """Durable and atomic: readers see the old file or the new one, also after a power cut."""
    _make_durable(path.parent)
    replace_bytes(path, data)
    _sync(path.parent)  # the new name, too


def _make_durable(directory: Path) -> None:
    """Makes a directory and those above it, each synced into the one above."""
    if not directory.is_dir():
        _make_durable(directory.parent)
        directory.mkdir(exist_ok=True)
        _sync(directory.parent)


def _sync(directory: Path) -> None:
    opened = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _tables(entries: Iterable[StreamEntry]) -> dict[Place, pa.Table]:
    rows: dict[Place, list[Row]] = {}
    for _, fields in entries:
        for place, row in _rows(fields):
            rows.setdefault(place, []).append(row)
    return {place: _table(place[0], rows_there) for place, rows_there in sorted(rows.items())}


def _why_not(entry: StreamEntry) -> str | None:
    try:
        _tables([entry])
    except NO_ROW as error:
        return f"{type(error).__name__}: {error}"
    return None


def _rows(fields: Mapping[bytes, bytes]) -> list[tuple[Place, Row]]:
    if not fields:
        raise ValueError("nothing is left of it: it was trimmed before it was archived")
    (kind, raw), *more = fields.items()
    if more or kind not in (b"event", b"story", b"user", b"served"):
        raise ValueError(f"an entry has one field, event, story, user or served; this one has {sorted(fields)}")
    document = orjson.loads(raw)
    if kind == b"story":
        return [(("stories", ""), document)]
    if kind == b"user":
        return [(("users", ""), document)]
    if kind == b"served":
        day = (_EPOCH + timedelta(microseconds=document["served_us"])).date()
        return [(("served", f"dt={day}"), row) for row in served_rows(document)]
    if (received_us := document.get("received_us")) is not None:
        document["received_at"] = (_EPOCH + timedelta(microseconds=received_us)).isoformat()
    if document["type"] in EDGE_TYPES:
        edge_kind, op = EDGE_TYPES[document["type"]]
        return [(("edges", ""), {**document, "kind": edge_kind, "op": op})]
    day = datetime.fromisoformat(document["occurred_at"]).astimezone(UTC).date()
    return [(("events", f"dt={day}"), document)]


def _table(dataset_name: str, rows: Sequence[Row]) -> pa.Table:
    declared = dataset(dataset_name)
    arrays = {}
    for column in declared.columns:
        if column.name in declared.partition_by:
            continue
        values = [row.get(column.name) for row in rows]
        if column.type == TS:
            values = [datetime.fromisoformat(value) if value else None for value in values]
        arrays[column.name] = pa.array(values, column.type)
    return conform(pa.table(arrays), declared)
