"""Cuts a training set by time: learn, choose, calibrate, and evaluate, each on later days than the one before."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from features.errors import BadInput
from learning.examples import Examples

_DAY_US = 86_400_000_000
_SHARE = 1 / 7
"""Of the days, each for choosing, calibrating and evaluating; of a week one day, of four weeks four."""
_MAX_DAYS = 7
"""A week holds every weekday; more would only age what is learned from."""
_MIN_ROWS = 100
"""A slice with fewer rows can neither choose nor calibrate nor evaluate."""


@dataclass(frozen=True, slots=True)
class Slices:
    """Consecutive rows; together all of them."""

    fit: slice
    validation: slice
    calibration: slice
    held_out: slice

    @property
    def learned(self) -> slice:
        """What the trees are grown on once their size is chosen."""
        return slice(self.fit.start, self.validation.stop)


def cut(examples: Examples, *, evaluated: bool = True) -> Slices:
    """By whole UTC days where there are four, else by time within the days. Not `evaluated`: the last slice is empty.

    A model that is only to be used, for example in an evaluation that evaluates it elsewhere, holds nothing out.
    """
    days = examples.shown_at // _DAY_US
    unique = np.unique(days)
    tail = 3 if evaluated else 2
    if len(unique) > tail:
        length = int(np.clip(round(len(unique) * _SHARE), 1, _MAX_DAYS))
        starts = [int(np.searchsorted(days, unique[-length * k])) for k in range(tail, 0, -1)]
    else:
        times = np.quantile(examples.shown_at, [1 - _SHARE * k for k in range(tail, 0, -1)])
        starts = [int(np.searchsorted(examples.shown_at, t)) for t in times]
    edges = [0, *starts, len(examples)] if evaluated else [0, *starts, len(examples), len(examples)]
    parts = [slice(a, b) for a, b in pairwise(edges)]
    short = [p for p in parts[: tail + 1] if p.stop - p.start < _MIN_ROWS]
    if short:
        raise BadInput(
            f"cut by time, the training set's parts have {[p.stop - p.start for p in parts]} rows and need {_MIN_ROWS} "
            "each; log impressions over a longer time."
        )
    return Slices(*parts)
