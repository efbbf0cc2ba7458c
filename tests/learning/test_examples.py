"""What a training set has to be, and what is said when it is not."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from features.errors import BadInput
from features.times import DAY_US
from learning.examples import cut, examples_of
from online.rankers.models.model import POSITION
from tests.learning.made import examples_table

TABLE = examples_table(requests=150)


def _with(name: str, values: object) -> pa.Table:
    column = pa.array(values) if not isinstance(values, pa.Array) else values
    return TABLE.set_column(TABLE.column_names.index(name), name, column)


def test_rows_come_by_time_and_no_request_is_torn() -> None:
    examples = examples_of(TABLE)
    assert (np.diff(examples.shown_at) >= 0).all()
    assert (np.diff(examples.request) >= 0).all()
    assert examples.request[-1] == 149
    assert (np.bincount(examples.request) == 10).all()


def test_a_row_keeps_its_own_values_through_the_ordering() -> None:
    examples = examples_of(TABLE)
    order = pc.sort_indices(TABLE, [("shown_at", "ascending"), ("request_id", "ascending"), ("story_id", "ascending")])
    expected = TABLE.take(order)
    assert (examples.column("als_score") == expected["als_score"].to_numpy()).all()
    assert (examples.labels["read"] == expected["read"].to_numpy()).all()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (TABLE.slice(0, 900), "has 900 rows; at least 1000"),
        (TABLE.drop_columns(["als_score"]), r"lacks \['als_score'\].*older than the registry"),
        (TABLE.append_column("mood", TABLE["als_score"]), r"has \['mood'\].*newer than the registry"),
        (_with("als_score", ["a"] * 1500), "wrong type"),
        (_with("als_score", np.full(1500, np.inf, np.float32)), r"infinite values in \['als_score'\]"),
        (_with("open", pa.nulls(1500, pa.bool_())), r"nulls in \['open'\]"),
        (TABLE.append_column("weight", pa.array(np.zeros(1500))), "weights that are not positive"),
    ],
)
def test_a_training_set_that_cannot_be_used_is_refused_with_one_sentence(table: pa.Table, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        examples_of(table)


def test_one_class_only_is_refused() -> None:
    table = TABLE
    for name in ("open", "read", "positive_feedback", "negative_feedback"):
        table = table.set_column(table.column_names.index(name), name, pa.array(np.zeros(1500, bool)))
    with pytest.raises(BadInput, match="both classes"):
        examples_of(table)


def test_a_constant_feature_is_told_and_left_out() -> None:
    examples = examples_of(_with("als_score", np.full(1500, 3, np.float32)))
    assert "als_score" not in examples.inputs
    assert examples.notes == ("als_score has one value in all rows and was left out",)
    assert (examples.column("als_score") == 3).all(), "what is left out is still the column that it was"


def test_a_missing_feature_value_stays_missing() -> None:
    values = TABLE["als_score"].to_numpy().copy()
    values[0] = np.nan
    assert np.isnan(examples_of(_with("als_score", values)).column("als_score")).sum() == 1


def test_the_cuts_are_whole_days_one_after_the_other() -> None:
    examples = examples_of(examples_table(requests=600, days=14))
    slices = cut(examples)
    days = examples.shown_at // DAY_US
    parts = (slices.fit, slices.validation, slices.calibration, slices.held_out)
    assert [p.start for p in parts[1:]] == [p.stop for p in parts[:-1]]
    assert (parts[0].start, parts[-1].stop) == (0, len(examples))
    for before, after in pairwise(parts):
        assert days[before].max() < days[after].min()
    assert len(np.unique(days[slices.held_out])) == 2


def test_a_single_day_is_cut_by_time_and_nothing_need_be_held_out() -> None:
    examples = examples_of(examples_table(requests=600, days=1))
    assert cut(examples).held_out.stop == len(examples)
    unjudged = cut(examples, evaluated=False)
    assert unjudged.held_out.start == unjudged.held_out.stop == unjudged.calibration.stop == len(examples)


def test_parts_that_are_too_small_are_told() -> None:
    with pytest.raises(BadInput, match="over a longer time"):
        cut(examples_of(examples_table(requests=150, days=28)).part(slice(0, 500)))


def test_position_is_an_input_of_training() -> None:
    assert POSITION in examples_of(TABLE).inputs
