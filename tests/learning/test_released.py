"""A lake's released model is the one whose bytes were released, or none."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from features.errors import BadInput
from features.packing import name_of
from lake.models import file_of, last_release, models_of, release, released
from learning.settings import LearningSettings
from learning.train import is_due

AS_OF = datetime(2026, 1, 31, tzinfo=UTC)


def test_a_lake_starts_without_a_model(tmp_path: Path) -> None:
    assert released(tmp_path) is None
    assert last_release(tmp_path) is None


def test_the_latest_release_counts_and_earlier_files_stay(tmp_path: Path) -> None:
    first = release(tmp_path, b"one", as_of=AS_OF, now=AS_OF)
    release(tmp_path, b"two", as_of=AS_OF, now=AS_OF, shortfalls=("forced",))
    assert released(tmp_path) == b"two"
    assert last_release(tmp_path).shortfalls == ("forced",)  # type: ignore[union-attr]
    assert file_of(tmp_path, first.sha256).read_bytes() == b"one"


def test_other_bytes_than_were_released_are_refused(tmp_path: Path) -> None:
    done = release(tmp_path, b"one", as_of=AS_OF, now=AS_OF)
    file_of(tmp_path, done.sha256).write_bytes(b"two")
    with pytest.raises(BadInput, match=f"other bytes than were released .*{name_of(b'two')}"):
        released(tmp_path)


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    file_of(tmp_path, release(tmp_path, b"one", as_of=AS_OF, now=AS_OF).sha256).unlink()
    with pytest.raises(BadInput, match="cannot be read"):
        released(tmp_path)


@pytest.mark.parametrize("note", ["", "{", "[]", json.dumps({"sha256": "x"})])
def test_a_damaged_note_is_told(tmp_path: Path, note: str) -> None:
    models_of(tmp_path).mkdir()
    (models_of(tmp_path) / "released.json").write_text(note)
    with pytest.raises(BadInput, match="is damaged"):
        released(tmp_path)


def test_training_is_due_when_there_is_no_model_or_it_is_older_than_its_cadence(tmp_path: Path) -> None:
    weekly = LearningSettings(cadence_d=7)
    assert is_due(tmp_path, AS_OF, weekly)
    release(tmp_path, b"one", as_of=AS_OF, now=AS_OF)
    assert not is_due(tmp_path, AS_OF + timedelta(days=6), weekly)
    assert is_due(tmp_path, AS_OF + timedelta(days=7), weekly)
