"""Picking rows out of large arrays gives what plain comparison gives."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from online.selection import among

hashes = st.lists(st.sampled_from([0, 1, -1, 1 << 16, (1 << 16) + 1, -(1 << 63), (1 << 63) - 1, 7 << 40]), max_size=20)


@given(hashes, hashes)
def test_among_few_is_what_comparing_each_with_each_tells(values: list[int], few: list[int]) -> None:
    found = among(np.array(values, np.int64), np.array(few, np.int64))
    assert found.tolist() == [value in few for value in values]
