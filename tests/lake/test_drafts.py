"""A full disk and a killed writer leave no draft behind."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from batch.tuning.tuned import Tuned, write_tuned
from lake.drafts import replace_bytes, replacing
from lake.models import release
from online.streams.archive_files import replace
from rex.model_service.registry import Folder

pytestmark = pytest.mark.process

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BIG = os.urandom(2 << 20)
WRITERS = {
    "archive": lambda folder: replace(folder / "raw" / "part.parquet", BIG),
    "release": lambda folder: release(folder, BIG, as_of=NOW, now=NOW),
    "tuned": lambda folder: write_tuned(folder, Tuned("", {}, (), (BIG.hex(),))),
    "model folder": lambda folder: Folder(folder).put("m", BIG),
}
KILLED = """
import os, signal, sys
from pathlib import Path
from online.streams import archive_files
os.fsync = lambda file: os.kill(os.getpid(), signal.SIGKILL)
archive_files._sync = archive_files._make_durable = lambda folder: None
archive_files.replace(Path(sys.argv[1]), b"half")
"""


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_leaves_nothing(small_disk: Path, writer: str) -> None:
    with pytest.raises(OSError, match="No space left"):
        WRITERS[writer](small_disk)
    assert files(small_disk) == []


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "a"], check=False)
    assert killed.returncode == -9
    assert len(files(tmp_path)) == 1, "the process left no draft, so nothing is tested"
    replace(tmp_path / "b", b"whole")
    assert files(tmp_path) == ["b"]


def test_files_that_are_no_drafts_of_ours_stay(tmp_path: Path) -> None:
    """Any folder may be written to, such as that of a ranked list."""
    letter = tmp_path / ".letter.draft"
    letter.write_text("Dear reader")
    replace_bytes(tmp_path / "ranked.parquet", b"")
    assert letter.read_text() == "Dear reader"


def test_the_draft_of_a_writer_that_lives_stays(tmp_path: Path) -> None:
    with replacing(tmp_path / "a") as draft:
        draft.write_bytes(b"still being written")
        replace_bytes(tmp_path / "b", b"another writer")
        assert draft.exists()
    assert files(tmp_path) == ["a", "b"]
