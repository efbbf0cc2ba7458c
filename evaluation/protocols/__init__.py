"""Protocols: what systems may know, what they are asked, and what turned out to be wanted."""

from __future__ import annotations

from collections.abc import Callable

from evaluation.protocols.published import published
from evaluation.protocols.random_split import random_split
from evaluation.protocols.rolling import rolling
from evaluation.protocols.task import Split
from evaluation.protocols.time_split import time_split
from evaluation.reading_log import Log

PROTOCOLS: dict[str, Callable[[Log, int | None], Split]] = {
    "published": published,
    "rolling": rolling,
    "random": random_split,
    "time": time_split,
}
"""Name → function of a log and the number of sampled negatives (None: the protocol's own). BadInput where one does not fit."""

__all__ = ["PROTOCOLS", "Split"]
