"""What a ranking learns from in a protocol: of earlier moments, what was read and what could have been read instead.

The features are the pipeline's own, computed as for a feed at that moment. Positives are the task's. Negatives are drawn, from the
newest stories and from all others apart, because what is new decides most and is little of what there is; each stands for as
many as it was drawn from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.reading_log import Log
from evaluation.task import SEED, Split, Task
from features.arrays import F32, F64, I32, I64, Bools
from learning.examples import FEATURE_NAMES, SCHEMA, WEIGHT, Examples, examples_of
from online.columns import Candidates
from online.rankers.models.model import POSITION
from online.rankers.models.outcomes import NAMES

LEARNED = "read"
"""The outcome that protocols evaluate by."""
NEWEST_DRAWN = 200
"""Stories that count as the newest: ten pages of a feed of fresh stories."""
DRAWN, DRAWN_A_READ = 20, 5
"""Negatives of a request from either part, and more for every read, so that the negatives grow with the reads."""
BALANCE = 10.0
"""What all negatives of a request weigh to each of its reads. Only the base rate depends on it, and trees of rare reads are unsteady."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One task's examples, r rows, the requests one after another."""

    task: Task
    features: F32
    """float32[r, FEATURE_NAMES]"""
    user: I32
    story: I32
    read: Bools
    weight: F64


def sample(log: Log, task: Task, candidates_of: Callable[[int], tuple[Candidates, I32]]) -> Sample:
    """`candidates_of` a user: everything they might be shown, annotated with all features, by row of the story table, and
    int32[n] the log's number of each story."""
    parts = []
    for place, user in enumerate(task.users):
        candidates, story = candidates_of(int(user))
        read = np.isin(story, task.positives[task.asked == place])
        if read.any() and not read.all():
            at, weight = _chosen(read, np.random.default_rng((SEED, task.at_us // 1_000_000, int(user))))
            columns = [candidates.columns[name].take(at) for name in FEATURE_NAMES]
            parts.append((np.stack(columns, axis=1), np.full(len(at), user, np.int32), story[at], read[at], weight))
    if not parts:
        empty = np.empty(0, np.int32)
        return Sample(task, np.empty((0, len(FEATURE_NAMES)), np.float32), empty, empty, empty > 0, np.empty(0))
    return Sample(task, *(np.concatenate(column) for column in zip(*parts, strict=True)))


def _chosen(read: Bools, rng: np.random.Generator) -> tuple[I64, F64]:
    """Positions of all that was read and of drawn others, and their weights. A read weighs 1, the others BALANCE a read."""
    reads = int(read.sum())
    others = np.flatnonzero(~read)  # by row of the story table, so the newest are last
    at, weight = [np.flatnonzero(read)], [np.ones(reads)]
    for part in (others[-NEWEST_DRAWN:], others[:-NEWEST_DRAWN]):
        drawn = rng.choice(part, min(DRAWN + DRAWN_A_READ * reads, len(part)), replace=False)
        at.append(drawn)
        weight.append(np.full(len(drawn), BALANCE * reads * len(part) / len(others) / max(len(drawn), 1)))
    return np.concatenate(at), np.concatenate(weight)


def examples_by(log: Log, split: Split, samples: Sequence[Sample], task: Task) -> Examples:
    """All that `task` may learn from. BadInput when that is too little.

    Split by time, what was read counts once it is known to the task, so a day that has not ended teaches nothing yet. At random,
    users are taken in any order, and which of them are chosen and calibrated on is drawn.
    """
    parts = [table for table in (_table(log, split, one, task) for one in samples) if table.num_rows]
    return examples_of(pa.concat_tables(parts or [_empty()]))


def _table(log: Log, split: Split, one: Sample, task: Task) -> pa.Table:
    keep = np.ones(len(one.user), bool)
    if split.by_time:
        pair = one.user.astype(np.int64) * log.stories + one.story
        known = np.isin(pair, log.pair[task.known])
        keep = (~one.read | known) & np.isin(one.user, one.user[one.read & known])
    user, n = one.user[keep], int(keep.sum())
    at_us = np.full(n, one.task.at_us)
    if not split.by_time:
        at_us += np.random.default_rng(SEED).permutation(log.users)[user]
    request = pa.array(user).cast(pa.string())
    columns = {
        "user_id": request,
        "story_id": pa.array(one.story[keep]).cast(pa.string()),
        "request_id": pc.binary_join_element_wise(request, str(one.task.at_us), " "),
        "shown_at": pa.array(at_us).cast(pa.timestamp("us", tz="UTC")),
        "author_id": pa.array(log.author[one.story[keep]]).cast(pa.string()),
        POSITION: np.full(n, np.nan, np.float32),
        **{name: one.features[keep, place] for place, name in enumerate(FEATURE_NAMES)},
        **{name: one.read[keep] & (name == LEARNED) for name in NAMES},
        WEIGHT: one.weight[keep],
    }
    return pa.table(columns)


def _empty() -> pa.Table:
    return SCHEMA.append(pa.field(WEIGHT, pa.float64())).empty_table()
