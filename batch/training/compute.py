"""The features of users' examples, by the functions that serve online. Runs in Spark's Python workers (mapInArrow).

A row is one user with one snapshot and a list of what was shown. All arrays are of that user's examples; what the
user did in between is known to the later ones of them only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa

from batch.training.ragged import NEVER, Lists, matrix
from batch.training.reader import Described, Readers
from features.arrays import F32, I32, Hashes
from features.formulas import age_hours, gather_mean, recency
from features.registry import BY_NAME, FEATURES, registered

Batches = Iterator[pa.RecordBatch]
GATHERED = ("story", "author", "publication", "language")
"""A story has one of each at most, so that their features come with the story."""


def example_maker(passed: tuple[str, ...]) -> Callable[[Iterable[pa.RecordBatch]], Batches]:
    """A function for mapInArrow: rows of users in; a row an example out, with the fields `passed` and every feature."""

    def make(batches: Iterable[pa.RecordBatch]) -> Batches:
        for batch in batches:
            shown = Lists(batch.column("shown"))
            values = features_of(batch, shown)
            columns = {name: shown.arrow(name) for name in passed}
            columns |= {feature.name: pa.array(values[feature.name], pa.float32()) for feature in FEATURES}
            yield pa.RecordBatch.from_pydict(columns)

    return make


def features_of(batch: pa.RecordBatch, shown: Lists) -> Mapping[str, F32]:
    """float32[n] a feature, n examples of all the users in `batch`."""
    topics = Lists(shown.arrow("topics"))
    at = topics.padded()
    out = {f.name: shown.floats(f.name) for entity in GATHERED for f in registered(entity)}
    for feature in registered("topic"):
        out[feature.name] = gather_mean(topics.floats(feature.name), at, BY_NAME[feature.name].default)
    told = Described(
        story=shown.ints("story"),
        author=shown.ints("author"),
        publication=shown.ints("publication"),
        topics=_padded(topics.ints("hash"), at),
        vectors=matrix(shown.arrow("vector")),
        published_us=shown.ints("published_us"),
        before_us=shown.ints("before_us"),
    )
    out |= {feature.name: np.zeros(len(shown), np.float32) for feature in registered("user_story")}
    readers = Readers(batch)
    for user in range(batch.num_rows):
        mine = shown.slice(user)
        for name, values in readers.features(user, told.of(mine)).items():
            out[name][mine] = values
    return out | {"recency": recency(age_hours(shown.ints("published_us"), shown.ints("shown_us")))}


def _padded(hashes: Hashes, at: I32) -> Hashes:
    """int64[n, t]: hashes by position, NEVER for ABSENT."""
    return np.append(hashes, NEVER)[at]
