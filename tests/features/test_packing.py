"""Packed values read back as written, and damaged ones are refused, never misread."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from features.packing import CorruptValue, Layout

PAIRS = Layout("pairs", 3, (("story", "<i8"), ("times", "<i4"), ("flag", "u1")))


@given(arrays(np.int64, st.integers(0, 20)), arrays(np.int32, st.integers(0, 20)), arrays(np.uint8, st.integers(0, 20)))
def test_what_was_encoded_is_decoded(story: np.ndarray, times: np.ndarray, flag: np.ndarray) -> None:
    decoded = PAIRS.decode(PAIRS.encode({"story": story, "times": times, "flag": flag}))
    assert [decoded[name].tolist() for name in ("story", "times", "flag")] == [
        story.tolist(),
        times.tolist(),
        flag.tolist(),
    ]


def test_absent_arrays_are_empty_and_unknown_ones_refused() -> None:
    assert len(PAIRS.decode(PAIRS.encode({}))["story"]) == 0
    with pytest.raises(ValueError, match="surprise"):
        PAIRS.encode({"surprise": np.zeros(1)})


def test_a_value_cut_off_anywhere_is_refused() -> None:
    data = PAIRS.encode({"story": np.arange(3), "times": np.arange(2), "flag": np.ones(8)})
    for length in range(len(data)):
        with pytest.raises(CorruptValue, match="pairs"):
            PAIRS.decode(data[:length])


def test_another_version_is_refused() -> None:
    other = Layout("pairs", 4, PAIRS.fields)
    with pytest.raises(CorruptValue, match="version 4"):
        other.decode(PAIRS.encode({}))
