"""What several tests of this folder share: one small simulated world for those that only read it, and a small disk."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from lake.simulator import WorldConfig, WorldSummary, simulate
from lake.simulator.world import World, load_world

ENDS_AT = datetime(2026, 11, 20, tzinfo=UTC)
SMALL = WorldConfig(users=300, stories=1_500, events=30_000, days=30, seed=7, ends_at=ENDS_AT)


@dataclass(frozen=True)
class SmallLake:
    """A simulated lake, its truth, and its raw datasets as DuckDB views."""

    path: Path
    summary: WorldSummary
    world: World
    db: duckdb.DuckDBPyConnection

    def value(self, query: str) -> object:
        """The one value that `query` gives."""
        row = self.db.execute(query).fetchone()
        assert row is not None, query
        return row[0]


def open_lake(path: Path) -> duckdb.DuckDBPyConnection:
    """The raw datasets of a lake as views."""
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    for name in ("stories", "users", "edges"):
        if (path / "raw" / name).exists():
            db.execute(
                f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{path}/raw/{name}/*.parquet', union_by_name=true)"
            )
    db.execute(
        f"CREATE VIEW events AS SELECT * FROM read_parquet('{path}/raw/events/*/*.parquet', hive_partitioning=true)"
    )
    return db


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallLake:
    path = tmp_path_factory.mktemp("small") / "lake"
    summary = simulate(SMALL, path)
    return SmallLake(path, summary, load_world(path), open_lake(path))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    if os.getuid() != 0:
        pytest.skip("only root can mount a small file system")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted: {mounted.stderr.decode().strip()}")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", tmp_path], check=True)
