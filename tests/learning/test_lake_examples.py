"""What the batch writes becomes what learning reads, and nothing is lost or made up in between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from features.derived_datasets import SAMPLING_RULE, TRAINING_EXAMPLES
from features.errors import BadInput
from learning.examples import FEATURE_NAMES, examples_of
from learning.lake_examples import read_lake_examples, sampling_rule, translated
from online.rankers.weighted import Weighted
from tests.batch.feature_lake import write_partition
from tests.learning.made import examples_table

AS_OF = datetime(2026, 1, 31, tzinfo=UTC)


def written(rows: int = 1200, **changed: Any) -> pa.Table:
    """A table as the job writes it; `changed`: column → values, or None to leave it out."""
    made = examples_table(requests=rows // 10)
    schema = pa.schema([field for field in TRAINING_EXAMPLES.arrow_schema() if field.name != "as_of"])
    n = made.num_rows
    more = {
        "event_id": [f"e{i}" for i in range(n)],
        "features_as_of": made["shown_at"],
        "source": pa.nulls(n, pa.string()),
        "propensity": pa.nulls(n, pa.float64()),
        "weight": np.ones(n, np.float32),
        "sampled": np.ones(n),
    }
    columns = {**{name: made[name] for name in made.column_names}, **more, **changed}
    kept = [field for field in schema if columns[field.name] is not None]
    return pa.table(
        [
            pa.chunked_array([columns[f.name]])
            if isinstance(columns[f.name], pa.Array)
            else _cast(columns[f.name], f.type)
            for f in kept
        ],
        names=[f.name for f in kept],
    )


def _cast(values: Any, kind: pa.DataType) -> pa.ChunkedArray:
    return values.cast(kind) if isinstance(values, pa.ChunkedArray) else pa.chunked_array([pa.array(values, kind)])


def test_the_columns_are_those_of_the_dataset_and_every_feature_arrives(tmp_path: Path) -> None:
    table = written()
    write_partition(tmp_path, "training_examples", table, AS_OF, "c0ffee")
    given = read_lake_examples(tmp_path, AS_OF)
    assert set(given.examples.inputs) == {"position", *FEATURE_NAMES}
    assert len(given.examples) == table.num_rows
    assert given.constants == "c0ffee"
    assert given.sampling == "Every row is a story that was shown; no negatives were sampled."


def test_without_requests_what_one_user_saw_in_half_an_hour_is_one() -> None:
    n = 1200
    at = [AS_OF + timedelta(minutes=minute) for minute in (0, 29, 30, 0)] + [AS_OF] * (n - 4)
    users = ["u", "u", "u", "other"] + [f"p{i}" for i in range(n - 4)]
    table = written(
        request_id=pa.nulls(n, pa.string()), shown_at=pa.array(at, pa.timestamp("us", tz="UTC")), user_id=users
    )
    requests = translated(table)["request_id"].to_pylist()
    assert requests[0] == requests[1]
    assert len({requests[0], requests[2], requests[3]}) == 3


def test_unknown_positions_are_missing_not_the_top() -> None:
    examples = examples_of(translated(written(position=pa.nulls(1200, pa.int32()))))
    assert "position" not in examples.inputs
    half = pa.array([None, 3] * 600, pa.int32())
    assert int(np.isnan(examples_of(translated(written(position=half))).column("position")).sum()) == 600


def test_unknown_authors_are_one_of_their_own() -> None:
    assert len(np.unique(examples_of(translated(written(author_id=pa.nulls(1200, pa.string())))).author)) == 1


def test_a_constant_feature_is_left_out_of_the_model_but_not_of_the_hand_weighted_ranking() -> None:
    table = written(follows_topics=np.full(1200, 0.5, np.float32))
    examples = examples_of(translated(table))
    assert "follows_topics has one value in all rows and was left out" in examples.notes
    assert (examples.column("follows_topics") == np.float32(0.5)).all()
    columns = {name: examples.column(name) for name in Weighted().inputs}
    assert np.isfinite(Weighted().score(columns, len(examples))).all()


def test_older_and_newer_features_are_told_apart() -> None:
    with pytest.raises(BadInput, match=r"lacks \['als_score'\].*older than the registry"):
        examples_of(translated(written().drop_columns(["als_score"])))
    newer = written().append_column("mood", pa.array(np.zeros(1200, np.float32)))
    with pytest.raises(BadInput, match=r"has \['mood'\].*newer than the registry"):
        examples_of(translated(newer))


def test_too_few_and_one_class_are_told() -> None:
    with pytest.raises(BadInput, match="has 900 rows; at least 1000"):
        examples_of(translated(written().slice(0, 900)))
    none = {name: np.zeros(1200, bool) for name in ("open", "read", "positive_feedback", "negative_feedback")}
    with pytest.raises(BadInput, match="both classes"):
        examples_of(translated(written(**none)))


def test_the_card_repeats_how_examples_were_chosen() -> None:
    assert sampling_rule(written(weight=np.full(1200, 2.25, np.float32))) == SAMPLING_RULE
    assert "25.0% were taken" in sampling_rule(written(sampled=np.full(1200, 0.25)))


def test_a_lake_without_examples_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match=r"training_examples/.* has not been written yet; run `rex train` for this as_of"
    ):
        read_lake_examples(tmp_path, AS_OF)
