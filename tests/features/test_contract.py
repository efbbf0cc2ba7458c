"""The contract stands on its own: it imports neither side, and its declarations fit together."""

from __future__ import annotations

import subprocess
import sys

import pytest

from features.datasets import ALL, dataset
from features.keys import hash64
from features.registry import FEATURES


@pytest.mark.process
def test_features_needs_neither_batch_nor_online_nor_spark_nor_fastapi() -> None:
    modules = "datasets formulas keys packing registry settings snapshot snapshot_reader duckdb_views"
    code = (
        f"import sys, importlib\nfor name in '{modules}'.split(): importlib.import_module('features.' + name)\n"
        "print([m for m in ('batch', 'online', 'pyspark', 'fastapi', 'sklearn') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_stored_feature_is_a_column_of_the_dataset_it_names() -> None:
    for feature in FEATURES:
        if not feature.source.startswith("formulas."):
            assert feature.name in dataset(feature.source).names


def test_every_computed_feature_names_a_formula_that_exists() -> None:
    from features import formulas

    for feature in FEATURES:
        if feature.source.startswith("formulas."):
            assert callable(getattr(formulas, feature.source.removeprefix("formulas.")))


def test_every_dataset_has_a_grain_a_meaning_and_meanings_for_its_columns() -> None:
    for declared in ALL.values():
        assert declared.grain
        assert declared.meaning
        assert all(column.meaning for column in declared.columns)


def test_an_unknown_dataset_is_refused_with_the_known_names() -> None:
    with pytest.raises(KeyError, match="known: stories"):
        dataset("surprise")


def test_hashes_are_those_of_the_batch() -> None:
    """Values of Spark's xxhash64, computed by Spark itself; tests/batch compares many more against a session."""
    assert [hash64("a"), hash64("story-1"), hash64("")] == [
        -8582455328737087284,
        -459905204305337948,
        -7444071767201028348,
    ]
