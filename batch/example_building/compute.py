"""The features of users' examples, by the functions that serve online (see online/annotators/). Runs in Spark's Python workers.

A row is one user with one snapshot and a list of what was shown. All arrays are of that user's examples; what the
user did in between is known to the later ones of them only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batch.example_building.ragged import NEVER, HashNumbers, Lists, matrix
from features.arrays import F32, I32, Hashes, Micros
from features.formulas import (
    age_hours,
    dot,
    exact_sum,
    gather,
    gather_mean,
    latest_different,
    read_gap_h,
    recency,
    scatter,
    scatter_max,
    scatter_sum,
    unopened_impressions,
    user_reads,
)
from features.raw_datasets import TARGET_TYPES
from features.registry import BY_NAME, FEATURES, registered
from features.snapshot import AFFINITIES, SUPPORT

Batches = Iterator[pa.RecordBatch]
GATHERED = ("story", "author", "publication", "language")
"""A story has one of each at most, so that their features come with the story."""
US_PER_MS = 1000
"""The service keeps the times of reads in milliseconds."""


def example_maker(copied: tuple[str, ...]) -> Callable[[Iterable[pa.RecordBatch]], Batches]:
    """A function for mapInArrow: rows of users in; a row an example out, with the fields `copied` and every feature."""

    def make(batches: Iterable[pa.RecordBatch]) -> Batches:
        for batch in batches:
            shown = Lists(batch.column("shown"))
            values = features_of(batch, shown)
            columns = {name: shown.arrow(name) for name in copied}
            columns |= {feature.name: pa.array(values[feature.name], pa.float32()) for feature in FEATURES}
            yield pa.RecordBatch.from_pydict(columns)

    return make


def features_of(batch: pa.RecordBatch, shown: Lists) -> Mapping[str, F32]:
    """float32[n] a feature, n examples of all the users in `batch`. ValueError when nothing computes a registered feature."""
    topics = Lists(shown.arrow("topics"))
    at = topics.padded()
    out = {f.name: shown.floats(f.name) for entity in GATHERED for f in registered(entity)}
    for feature in registered("topic"):
        out[feature.name] = gather_mean(topics.floats(feature.name), at, BY_NAME[feature.name].default)
    stories = Described(
        story=shown.ints("story"),
        author=shown.ints("author"),
        publication=shown.ints("publication"),
        topics=_padded(topics.ints("hash"), at),
        vectors=matrix(shown.arrow("vector")),
        published_us=shown.ints("published_us"),
        before_us=shown.ints("before_us"),
    )
    out["recency"] = recency(age_hours(shown.ints("published_us"), shown.ints("shown_us")))
    of_users = BY_NAME.keys() - out.keys()
    out |= {name: np.zeros(len(shown), np.float32) for name in of_users}
    users = BatchOfUsers(batch)
    for user in range(batch.num_rows):
        mine = shown.slice(user)
        computed = users.features(user, stories.of(mine))
        if missing := sorted(of_users - computed.keys()):
            raise ValueError(f"nothing computes the features {', '.join(missing)} of features/registry.py for examples")
        for name, values in computed.items():
            out[name][mine] = values
    return out


def _padded(hashes: Hashes, at: I32) -> Hashes:
    """int64[n, t]: hashes by position, NEVER for ABSENT."""
    return np.append(hashes, NEVER)[at]


@dataclass(frozen=True, slots=True)
class Described:
    """The stories of n examples, and up to when news counts: [n] or [n, …] each."""

    story: Hashes
    author: Hashes  # NEVER: none
    publication: Hashes  # NEVER: none
    topics: Hashes  # [n, t], NEVER at the end
    vectors: F32  # [n, factors]
    published_us: Micros
    before_us: Micros

    def of(self, which: slice) -> Self:
        """Some of the examples."""
        return type(self)(*(getattr(self, field.name)[which] for field in fields(self)))

    def names(self) -> dict[str, HashNumbers]:
        """The different stories, and the different targets of edges."""
        return {"story": HashNumbers(self.story)} | {
            target: HashNumbers(hashes)
            for target, hashes in zip(TARGET_TYPES, (self.author, self.publication, self.topics), strict=True)
        }


class BatchOfUsers:
    """The user side of a batch of rows: what a server knew of each."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self._affinity = {target: Lists(batch.column(f"{target}_affinity")) for target in TARGET_TYPES}
        self._follows = {target: Lists(batch.column(f"follow_{target}")) for target in TARGET_TYPES}
        self._seen = Lists(batch.column("seen"))
        self._reads = Lists(batch.column("reads"))
        similar = Lists(self._reads.arrow("similar"))
        self._similar = np.append(similar.ints("hash"), NEVER)[similar.padded()]
        self._similarity = np.append(similar.floats("value"), np.float32(0.0))[similar.padded()]
        self._vectors = matrix(batch.column("user_vector"))
        self._had_read: pa.ListArray = batch.column("had_read")

    def features(self, user: int, stories: Described) -> Mapping[str, F32]:
        """float32[n] a feature; recency, which is no matter of the user, is not among them."""
        names = stories.names()
        out = self._learned(user, stories, names)
        of_moment = ("similarity", "co_reading", *map(_follows, TARGET_TYPES))
        out |= {name: np.zeros(len(stories.story), np.float32) for name in of_moment}
        for which in self._between_changes(user, stories.before_us):
            before_us = int(stories.before_us[which[0]])
            for name, values in self._current(user, before_us, names, which).items():
                out[name][which] = values
        return out

    def _learned(self, user: int, stories: Described, names: Mapping[str, HashNumbers]) -> dict[str, F32]:
        """What the snapshot holds of the user, however much has happened since."""
        seen, numbers = self._seen.slice(user), names["story"]
        times = unopened_impressions(self._seen.ints("times")[seen].astype(np.int32))
        shown = scatter(len(numbers), numbers.find(self._seen.ints("hash")[seen]), times)
        had_read = np.sort(np.array(self._had_read[user].as_py() or [], np.int64))
        vector = self._vectors[user][: stories.vectors.shape[1]]
        out = {
            "unopened_impressions": gather(shown, numbers.index),
            "als_score": dot(np.ascontiguousarray(stories.vectors.T), vector),
            "user_reads": np.full(len(stories.story), user_reads(len(had_read)), np.float32),
            "read_gap_h": read_gap_h(stories.published_us, had_read),
        }
        for target, lists in self._affinity.items():
            mine, of = lists.slice(user), names[target]
            at = of.find(lists.ints("hash")[mine])
            for kind in AFFINITIES[target]:
                values = scatter(len(of), at, lists.floats(kind)[mine])
                out[f"{target}_{kind}"] = _of_story(target, values, of.index)
        topics = self._affinity["topic"]
        for kind in SUPPORT:
            of_all = exact_sum(topics.floats(kind)[topics.slice(user)])
            out[f"user_{kind}"] = np.full(len(stories.story), of_all, np.float32)
        return out

    def _current(
        self, user: int, before_us: int, names: Mapping[str, HashNumbers], which: NDArray[np.intp]
    ) -> dict[str, F32]:
        """What the service knew by the moment: follows in force and the latest reads, for the examples at `which`."""
        out = {}
        for target, lists in self._follows.items():
            mine, of = lists.slice(user), names[target]
            in_force = (lists.ints("from_us")[mine] < before_us) & (lists.ints("until_us")[mine] >= before_us)
            marks = scatter(len(of), of.find(lists.ints("hash")[mine][in_force]), 1.0)
            out[_follows(target)] = _of_story(target, marks, of.index[which])
        numbers, read = names["story"], self._latest_reads(user, before_us)
        near = numbers.find(self._similar[read])
        at, values = near[near >= 0], self._similarity[read][near >= 0]
        for name, scattered in (("similarity", scatter_max), ("co_reading", scatter_sum)):
            out[name] = scattered(len(numbers), at, values).take(numbers.index[which])
        return out

    def _latest_reads(self, user: int, before_us: int) -> NDArray[np.intp]:
        """Entries of the latest different stories read, of one instant in the order in which Redis lists them."""
        mine = self._reads.slice(user)
        known = np.arange(mine.start, mine.stop)[self._reads.ints("from_us")[mine] < before_us]
        hashes = self._reads.ints("hash")[known]
        as_bytes = np.ascontiguousarray(hashes, "<i8").view(">u8")
        newest = np.lexsort((as_bytes, self._reads.ints("read_us")[known] // US_PER_MS))[::-1]
        return known[newest][latest_different(hashes[newest])]

    def _between_changes(self, user: int, before_us: Micros) -> Iterator[NDArray[np.intp]]:
        """Positions of examples between which nothing became known."""
        mine = self._reads.slice(user)
        changes = [self._reads.ints("from_us")[mine]]
        for lists in self._follows.values():
            changes += [lists.ints(end)[lists.slice(user)] for end in ("from_us", "until_us")]
        state = np.searchsorted(np.unique(np.concatenate(changes)), before_us)
        for value in np.unique(state):
            yield np.flatnonzero(state == value)


def _of_story(target: str, values: F32, index: I32) -> F32:
    """A story has one author and one publication, but several topics."""
    return gather_mean(values[:-1], index) if target == "topic" else gather(values, index)


def _follows(target: str) -> str:
    return "follows_topics" if target == "topic" else f"follows_{target}"
