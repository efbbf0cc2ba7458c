"""Moves accepted events and stories from the Redis streams to the raw lake, so that today is in tomorrow's features.

Files first, positions after: killed in between, the same entries are written again, and the batch drops exact
repeats by event_id. Only one archiver works at a time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import redis
from redis.exceptions import LockError

from features.datasets import dataset
from features.errors import Unavailable
from features.keys import PARTITIONS, Keys
from features.schema import TS
from lake.writer import conform
from online.events import EDGE_TYPES
from online.stream import START, StreamEntry

POSITIONS_FILE = "_archived.json"
"""Under `<lake>/raw`: stream → id of the last entry that is in the lake."""
BATCH_ENTRIES = 20_000
"""Entries moved at once: some 10 MB in memory, and files that are not tiny."""
LEASE_S = 60
"""An archiver that died is replaced after this long; one batch takes well under a second."""


def archive(client: redis.Redis, keys: Keys, lake: Path) -> int:
    """Moves everything that is in the streams now; returns the number of entries moved, 0 when another one is at it."""
    lease = client.lock(keys.archive_lease(), timeout=LEASE_S, blocking=False)
    try:
        if not lease.acquire():
            return 0
        streams = [keys.story_stream(), *(keys.event_stream(partition) for partition in range(PARTITIONS))]
        return sum(_drain(client, stream, lake, lease) for stream in streams)
    except redis.RedisError as error:
        raise Unavailable(f"Redis cannot be read or the lease ran out, the archive goes on later: {error}") from error
    finally:
        with suppress(LockError):  # not held, or not any more: then another archiver is at it
            lease.release()


def read_positions(lake: Path) -> dict[str, str]:
    """Stream → id of the last archived entry; empty when nothing was archived yet."""
    path = lake / "raw" / POSITIONS_FILE
    return dict(json.loads(path.read_text())) if path.exists() else {}


def _drain(client: redis.Redis, stream: str, lake: Path, lease: Any) -> int:
    moved = 0
    while True:
        positions = read_positions(lake)
        entries: list[StreamEntry] = client.xrange(stream, f"({positions.get(stream, START)}", "+", count=BATCH_ENTRIES)  # type: ignore[assignment]
        if not entries:
            return moved
        first, last = entries[0][0].decode(), entries[-1][0].decode()
        name = f"archive-{stream.rpartition('{')[2].replace('}:', '-')}-{first}-{last}"
        _write_documents(lake, name, (next(iter(fields.items())) for _, fields in entries))
        lease.reacquire()  # refused when it ran out: then another archiver moves the positions
        _replace(lake / "raw" / POSITIONS_FILE, json.dumps({**positions, stream: last}, sort_keys=True).encode())
        moved += len(entries)


def _write_documents(lake: Path, name: str, documents: Iterable[tuple[bytes, bytes]]) -> None:
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for kind, raw in documents:
        document = orjson.loads(raw)
        if kind == b"story":
            rows.setdefault(("stories", ""), []).append(document)
        elif document["type"] in EDGE_TYPES:
            edge_kind, op = EDGE_TYPES[document["type"]]
            rows.setdefault(("edges", ""), []).append({**document, "kind": edge_kind, "op": op})
        else:
            day = datetime.fromisoformat(document["occurred_at"]).astimezone(UTC).date()
            rows.setdefault(("events", f"dt={day}"), []).append(document)
    for (dataset_name, partition), documents_of in sorted(rows.items()):
        _write_rows(lake / "raw" / dataset_name / partition / f"{name}.parquet", dataset_name, documents_of)


def _write_rows(path: Path, dataset_name: str, documents: list[dict[str, Any]]) -> None:
    declared = dataset(dataset_name)
    arrays = {}
    for column in declared.columns:
        if column.name in declared.partition_by:
            continue
        values = [document.get(column.name) for document in documents]
        if column.type == TS:
            values = [datetime.fromisoformat(value) if value else None for value in values]
        arrays[column.name] = pa.array(values, column.type)
    table = conform(pa.table(arrays), declared)
    path.parent.mkdir(parents=True, exist_ok=True)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    _replace(path, sink.getvalue().to_pybytes())


def _replace(path: Path, data: bytes) -> None:
    """Durable and atomic: readers see the old file or the new one, also after a power cut."""
    draft = path.with_name(f".{path.name}.{uuid4().hex}.draft")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # the new name, too
    finally:
        os.close(directory)
