"""A site that has a user NA says so once, and then the import, `rex check`, the batch and the API take it for an id."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from features.settings import Settings
from tests.lake.importing.small_files import events_of, put

CLICKS = "user,item,ts\nNA,s1,2024-05-01T10:00:00Z\n"
FIRST = """
from datetime import UTC, datetime
from pathlib import Path
from pydantic import TypeAdapter
from lake.check import check_lake
from lake.importing.sql_import import import_sql
from online.ingest.ids import Id
import_sql(Path("import.sql"), Path("lake"), now=datetime(2026, 11, 20, tzinfo=UTC))
report = check_lake(Path("lake"), datetime(2026, 11, 20, tzinfo=UTC)).datasets["events"]
print(report.users, dict(report.refused), TypeAdapter(Id).validate_python("NA"))
"""
BATCH = """
from datetime import UTC, datetime
from pathlib import Path
from batch.run import run
from batch.settings import BatchSettings
at = datetime(2026, 11, 20, tzinfo=UTC)
[*_, events] = run(Path("lake"), [at], now=at, settings=BatchSettings(), jobs=["valid_stories", "valid_events"]).jobs
print(events.validation.good, events.validation.quarantined)
"""


def python(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A process of its own: checks are made of the settings when they are first looked at."""
    given = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])} | environment
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=given, capture_output=True, text=True, check=False
    )


@pytest.mark.process
def test_import_check_and_api_take_a_declared_spelling_for_an_id(tmp_path: Path) -> None:
    put(tmp_path, clicks__csv=CLICKS, import__sql=events_of("csv('clicks.csv')"))
    done = python(FIRST, tmp_path, REX_IDS_LIKE_NULL="NA, None")
    assert done.stdout == "1 {} NA\n", done.stderr


def test_a_spelling_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError, match="'bob' is none of NULL, Null, null, NA, "):
        Settings(ids_like_null="NA,bob")  # type: ignore[arg-type]


@pytest.mark.nightly(part="imports")
def test_the_batch_keeps_users_of_a_declared_spelling(tmp_path: Path) -> None:
    put(tmp_path, clicks__csv=CLICKS, import__sql=events_of("csv('clicks.csv')"))
    assert python(FIRST, tmp_path, REX_IDS_LIKE_NULL="NA").returncode == 0
    done = python(BATCH, tmp_path, REX_IDS_LIKE_NULL="NA")
    assert done.stdout.splitlines()[-1] == "1 {}", done.stderr
    [part] = (tmp_path / "lake" / "features" / "valid_events").rglob("*.parquet")
    assert pq.read_table(part)["user_id"].to_pylist() == ["NA"]
