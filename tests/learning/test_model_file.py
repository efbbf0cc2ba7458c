"""A model survives its bytes, and is refused when they are not what was published."""

from __future__ import annotations

import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pytest

from features.packing import name_of
from features.registry import BY_NAME, Feature
from online.rankers.models.model_file import MODEL, WrongModel, decode, encode
from tests.learning.conftest import Made


def _joblib(value: object) -> bytes:
    """As scikit-learn's own documentation keeps models."""
    joblib.dump(value, file := io.BytesIO())
    return file.getvalue()


def test_a_loaded_model_scores_to_the_same_bits(made: Made) -> None:
    x = made.examples.x
    assert made.loaded.value(x).tobytes() == made.fitted.value(x).tobytes()
    for name, probability in made.loaded.probabilities(x).items():
        assert probability.tobytes() == made.fitted.probabilities(x)[name].tobytes()
    assert encode(made.loaded) == made.data


def test_the_beginning_of_the_hash_is_a_name_too(made: Made) -> None:
    assert decode(made.data, made.name[:32]).weights == made.fitted.weights


@pytest.mark.parametrize("at", [0, 5, 1000, -1])
def test_one_changed_byte_is_another_hash(made: Made, at: int) -> None:
    spoiled = bytearray(made.data)
    spoiled[at] ^= 1
    with pytest.raises(WrongModel, match="other bytes than were published"):
        decode(bytes(spoiled), made.name)


def test_every_truncation_is_refused_even_under_its_own_hash(made: Made) -> None:
    for size in np.linspace(0, len(made.data) - 9, 40).astype(int):
        part = made.data[:size]
        with pytest.raises(WrongModel, match="is damaged"):
            decode(part, name_of(part))


@pytest.mark.parametrize(("column", "value"), [("left", 10**6), ("left", 0), ("feature", 99), ("value", np.nan)])
def test_trees_that_lead_astray_are_refused_before_they_are_walked(made: Made, column: str, value: float) -> None:
    arrays = {name: array.copy() for name, array in MODEL.decode(made.data).items()}
    arrays[f"open_{column}"][1 if column == "left" else 0] = value
    data = MODEL.encode(arrays)
    with pytest.raises(WrongModel, match="the trees are damaged"):
        decode(data, name_of(data))


def test_bytes_altered_at_random_under_their_own_hash_are_refused_or_score_finite_values(made: Made) -> None:
    rng, x, refused = np.random.default_rng(3), made.examples.x[:50], 0
    for _ in range(500):
        altered = bytearray(made.data)
        for at in rng.integers(len(altered), size=rng.integers(1, 4)):
            altered[at] = rng.integers(256)
        try:
            model = decode(bytes(altered), name_of(bytes(altered)))
        except WrongModel:
            refused += 1
        else:
            assert np.isfinite(model.value(x)).all()
    assert refused > 100


class _Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("write", [pickle.dumps, _joblib], ids=["pickle", "joblib"])
def test_what_executes_code_when_it_is_loaded_is_refused_unexecuted(
    write: Callable[[object], bytes], tmp_path: Path
) -> None:
    data = write(_Payload(tmp_path / "made"))
    with pytest.raises(WrongModel, match="is damaged"):
        decode(data, name_of(data))
    assert not (tmp_path / "made").exists()
    joblib.load(io.BytesIO(data))  # reads both; shows that it would have been noticed
    assert (tmp_path / "made").is_dir()


def test_no_name_is_no_hash(made: Made) -> None:
    with pytest.raises(WrongModel):
        decode(made.data, "")


class TestOtherFeatures:
    def test_a_model_that_reads_what_this_code_does_not_know_is_refused(
        self, made: Made, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delitem(BY_NAME, "story_open_rate")
        with pytest.raises(WrongModel, match=r"other code: it reads \['story_open_rate'\]"):
            decode(made.data, made.name)

    def test_a_feature_that_it_does_not_read_changes_nothing(self, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
        """So that adding a feature never stops publishing."""
        monkeypatch.setitem(BY_NAME, "mood", Feature("mood", "story", 0.0, "new", "formulas.mood"))
        assert encode(decode(made.data, made.name)) == made.data

    def test_a_model_for_another_default_is_refused(self, made: Made) -> None:
        data = _with_head(made.data, lambda head: head["features"]["story_open_rate"].__setitem__(1, 0.5))
        with pytest.raises(WrongModel, match=r"other definitions of \['story_open_rate'\]"):
            decode(data, name_of(data))


def _with_head(data: bytes, change: object) -> bytes:
    arrays = dict(MODEL.decode(data))
    head = json.loads(arrays["about"].tobytes())
    change(head)  # type: ignore[operator]
    arrays["about"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
    return MODEL.encode(arrays)
