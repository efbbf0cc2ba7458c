"""One small training set and the models learned from it, made once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from threadpoolctl import threadpool_limits

from features.packing import name_of
from learning.examples import Examples, Slices, cut, examples_of
from learning.fit import Choice, fit
from online.rankers.models.model import Model
from online.rankers.models.model_file import decode, encode
from tests.learning.made import examples_table

SMALL = (Choice(0.2, 6, 20),)
"""A schedule of one, so that tests are quick."""


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Beside other tests OpenMP's threads would wait for each other."""
    with threadpool_limits(1):
        yield


@dataclass(frozen=True)
class Made:
    examples: Examples
    slices: Slices
    fitted: Model
    data: bytes
    name: str
    loaded: Model


@pytest.fixture(scope="session")
def made() -> Made:
    examples = examples_of(examples_table())
    slices = cut(examples)
    fitted = fit(examples, slices, time.monotonic, schedule=SMALL)
    data = encode(fitted)
    return Made(examples, slices, fitted, data, name_of(data), decode(data, name_of(data)))
