"""Compiled loops: once, before anybody waits, and also where nothing can be kept for the next start."""

from __future__ import annotations

import numpy as np
import pytest
from numba.core.caching import FunctionCache

from features import formulas
from features.compiled import compiled
from online.postprocessors.blocks import Caps, Demands, Limits, RankedCandidates, fill, warm_up
from online.postprocessors.filling import fill_places


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64])
def test_a_list_of_whatever_types_needs_no_compiling_after_the_warm_up(dtype: type) -> None:
    warm_up()
    before = len(fill_places.signatures)  # type: ignore[attr-defined]
    keys, cap = np.arange(3, dtype=dtype), Caps(1, 1, 1)
    keys.flags.writeable = False
    limits = Limits(keys, keys, (cap, cap), (keys[:0], keys[:0]))
    ranked = RankedCandidates(limits, keys, keys[::-1] > 1, keys[2:], np.zeros(1, dtype))
    assert fill(ranked, Demands(3, 2, (0, 0, 0), 0)).order.tolist() == [2, 0, 1]
    assert before == len(fill_places.signatures) == 1  # type: ignore[attr-defined]


def test_without_a_directory_for_machine_code_it_is_compiled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FunctionCache._impl_class, "_locator_classes", [])
    assert compiled(_twice)(3) == 6


def _twice(n: int) -> int:
    return 2 * n


def test_means_over_topics_need_no_compiling_after_the_warm_up() -> None:
    formulas.warm_up()
    before = len(formulas._means.signatures)  # type: ignore[attr-defined]
    for writeable in (True, False):
        index = np.array([[0, 1], [1, -1]], np.int32)
        index.flags.writeable = writeable
        assert formulas.gather_mean(np.array([1, 3], np.float32), index).tolist() == [2.0, 3.0]
    assert len(formulas._means.signatures) == before  # type: ignore[attr-defined]
