"""What a ranker is, and where it may have models scored. They know no request, no user and no story."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from features.arrays import F32, F64

Degrade = Callable[[str, Exception], None]
"""Notes that a part failed and that the feed goes on without it: its name, and why."""


def refused(part: str, error: Exception) -> None:
    """The `Degrade` of callers that take no scores without a part: raises what went wrong with it."""
    raise error


class Ranker(Protocol):
    """Turns feature columns into one score; knows no user and no story."""

    name: str
    inputs: tuple[str, ...]
    """The features it reads."""

    def score(self, columns: Mapping[str, F32], n: int, degrade: Degrade = refused) -> F32:
        """float32[n], greater is better; finite. What it has to do without it tells `degrade`."""
        ...

    def contributions(self, columns: Mapping[str, F32], n: int) -> Mapping[str, F32]:
        """float32[n] for each input; they add up to the score (in float32, in the order of `inputs`)."""
        ...


class Scorer(Protocol):
    """Where a model runs: in this process, or wherever whoever puts the parts together says."""

    def probabilities(self, columns: Mapping[str, F32], n: int) -> Mapping[str, F64]:
        """Calibrated probability of each outcome, float64[n]. Unavailable when it cannot be had in time."""
        ...
