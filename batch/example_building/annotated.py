"""The features of examples, by the annotators that serve feeds, at moments of the lake. Runs in Spark's Python workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from batch.moments.lake_log import LakeLog, open_log
from batch.moments.lake_snapshot import LakeSnapshot, open_snapshot
from batch.moments.walk import Walk
from features.registry import FEATURES


def example_maker(
    names: tuple[str, ...], snapshots: Mapping[int, str], log: str
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A function for mapInArrow: impressions in, by `features_as_of` and `before`; examples out, with the columns `names`: the author
    and every feature, and what is copied. What could not have come from its snapshot is left out.

    `snapshots`: features_as_of in µs → file. Beside what is copied, rows have `user` and `story` (hashes).
    """

    def make(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        walk: Walk | None = None
        for batch in batches:
            as_ofs = batch.column("features_as_of").cast(pa.int64()).to_numpy()
            for part in np.split(np.arange(len(as_ofs)), np.flatnonzero(np.diff(as_ofs)) + 1):
                as_of_us, rows = int(as_ofs[part[0]]), batch.slice(part[0], len(part))
                if walk is None or walk.as_of_us != as_of_us:
                    walk = Walk(as_of_us, _snapshot(snapshots[as_of_us]), _log(log))
                yield _examples(walk, rows, names)

    return make


@lru_cache(maxsize=1)
def _log(path: str) -> LakeLog:
    """Kept for the next task of a worker."""
    return open_log(Path(path))


@lru_cache(maxsize=1)
def _snapshot(path: str) -> LakeSnapshot:
    """Kept as well: the next task is mostly of the same snapshot."""
    return open_snapshot(Path(path))


def _examples(walk: Walk, rows: pa.RecordBatch, names: tuple[str, ...]) -> pa.RecordBatch:
    features, author, known = walk.features(
        rows.column("user_id").to_pylist(),
        rows.column("user").to_numpy(),
        rows.column("story").to_numpy(),
        *(rows.column(name).cast(pa.int64()).to_numpy() for name in ("before", "shown_at")),
    )
    made = {"author_id": author} | {feature.name: pa.array(features[at]) for at, feature in enumerate(FEATURES)}
    columns = {name: made[name] if name in made else rows.column(name) for name in names}
    return pa.RecordBatch.from_pydict(columns).filter(pa.array(known))
