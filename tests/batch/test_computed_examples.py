"""The features of examples without Spark: what is registered is computed, or nothing is written."""

from __future__ import annotations

import pyarrow as pa
import pytest

from batch.example_building import compute
from batch.example_building.ragged import Lists
from features.raw_datasets import TARGET_TYPES
from features.registry import BY_NAME, FEATURES, Feature, registered
from features.snapshot import AFFINITIES

_HASHES = pa.list_(pa.struct([("hash", pa.int64()), ("times", pa.int64())]))
_VECTOR = pa.list_(pa.float32())
_FOLLOWS = pa.list_(pa.struct([("hash", pa.int64()), ("from_us", pa.int64()), ("until_us", pa.int64())]))
_READS = pa.list_(
    pa.struct(
        [
            ("hash", pa.int64()),
            ("read_us", pa.int64()),
            ("from_us", pa.int64()),
            ("similar", pa.list_(pa.struct([("hash", pa.int64()), ("value", pa.float32())]))),
        ]
    )
)
_SHOWN = pa.list_(
    pa.struct(
        [
            *(
                (name, pa.int64())
                for name in ("story", "author", "publication", "published_us", "before_us", "shown_us")
            ),
            *((f.name, pa.float32()) for entity in compute.GATHERED for f in registered(entity)),
            (
                "topics",
                pa.list_(pa.struct([("hash", pa.int64()), *((f.name, pa.float32()) for f in registered("topic"))])),
            ),
            ("vector", _VECTOR),
        ]
    )
)
ONE_SHOWN = {"story": 1, "published_us": 0, "before_us": 10, "shown_us": 10, "topics": [], "vector": [1.0]}


def users(*shown: dict[str, object]) -> pa.RecordBatch:
    """One newcomer, to whom `shown` was shown."""
    affinities = {
        f"{target}_affinity": pa.list_(
            pa.struct([("hash", pa.int64()), *((name, pa.float32()) for name in AFFINITIES[target])])
        )
        for target in TARGET_TYPES
    }
    schema = pa.schema(
        {"shown": _SHOWN, "seen": _HASHES, "reads": _READS, "user_vector": _VECTOR, "had_read": pa.list_(pa.int64())}
        | affinities
        | {f"follow_{target}": _FOLLOWS for target in TARGET_TYPES}
    )
    return pa.RecordBatch.from_pylist([{"shown": list(shown)}], schema)


def test_every_registered_feature_is_computed() -> None:
    batch = users(ONE_SHOWN)
    values = compute.features_of(batch, Lists(batch.column("shown")))
    assert values.keys() == BY_NAME.keys()
    assert all(len(column) == 1 for column in values.values())


def test_one_that_nothing_computes_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = Feature("unheard_of", "user_story", 0.0, "nothing", "formulas.nothing")
    monkeypatch.setattr(compute, "FEATURES", (*FEATURES, extra))
    monkeypatch.setitem(BY_NAME, extra.name, extra)
    monkeypatch.setattr(compute, "registered", lambda entity: tuple(f for f in BY_NAME.values() if f.entity == entity))
    batch = users(ONE_SHOWN)
    with pytest.raises(ValueError, match="nothing computes the features unheard_of"):
        compute.features_of(batch, Lists(batch.column("shown")))
