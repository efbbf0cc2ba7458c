"""Walks from a snapshot of the lake through what came after it, in order of time, and annotates what was shown on the way.

Stories shown to one user share a context as long as nothing becomes known about stories or about that user.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batch.moments.lake_log import LakeLog, UserLog
from batch.moments.lake_snapshot import LakeSnapshot
from features.arrays import F32, Bools, Hashes, Micros
from features.raw_datasets import CLOCK_SKEW_S
from features.registry import FEATURES
from online.columns import Candidates, Rows
from online.components import default_components
from online.context import Context, Trace
from online.pipeline import Pipeline
from online.rankers.weighted import Weighted
from online.settings import RankingSettings
from online.story_table.updates import with_changes
from online.user.user import User

SKEW_US = CLOCK_SKEW_S * 1_000_000
"""How far before its as_of a server replays what came since a snapshot (see batch/run_notes.py)."""
ALL = frozenset(feature.name for feature in FEATURES)
SETTINGS, RANKER = RankingSettings(), Weighted()
"""A context has them; annotators ask for neither."""


class ShownContext(Context):
    """The context of stories that were shown at different moments, so that there is no one `now`."""

    @property  # type: ignore[override]  # of a field: what asks for it must fail
    def now_us(self) -> int:
        """ValueError"""
        raise ValueError("stories of a training set were shown at different moments; ask ctx.age_hours(candidates)")

    @now_us.setter
    def now_us(self, value: int) -> None:
        pass


class Walk:
    """Starts at a snapshot; each call goes on from where the last one ended."""

    def __init__(self, as_of_us: int, snapshot: LakeSnapshot, log: LakeLog) -> None:
        """`as_of_us`: of the snapshot, µs."""
        self.as_of_us, self._snapshot, self._log = as_of_us, snapshot, log
        self._applied = int(np.searchsorted(log.stories_received, as_of_us - SKEW_US, "right"))
        self._story_table = snapshot.story_table
        self._users: dict[int, UserLog] = {}
        self._pipeline = Pipeline(default_components(), lambda ctx, slate: None)

    def features(
        self, user_ids: list[str], user: Hashes, story: Hashes, before_us: Micros, shown_us: Micros
    ) -> tuple[F32, pa.Array, Bools]:
        """float32[registered features, n]; string[n], each story's author as known then, null: none; bool[n]: the story was known.

        Of n stories shown: to whom (ids and hashes), which, before when news counts (ascending, also from one call to the next), and
        when. Unavailable when an annotator fails, ValueError when none computes a registered feature.
        """
        out = np.zeros((len(FEATURES), len(user)), np.float32)
        authors = np.full(len(user), None, object)
        known = np.zeros(len(user), bool)
        # Nobody is shown a story before it is there: one that was received at that very moment was.
        table_at = np.searchsorted(self._log.stories_received, before_us, "right")
        user_at = np.zeros(len(user), np.int64)
        for mine in _runs(np.argsort(user, kind="stable"), user):
            user_at[mine] = self._user(user_ids[mine[0]], int(user[mine[0]])).number(before_us[mine])
        for mine in _runs(np.lexsort((user_at, user, table_at)), table_at, user, user_at):
            first = int(mine[0])
            self._advance(int(table_at[first]))
            state = self._user(user_ids[first], int(user[first])).state(int(before_us[first]))
            rows = self._story_table.by_hash.find(story[mine])
            known[mine] = rows >= 0
            mine, rows = mine[rows >= 0], rows[rows >= 0]
            if len(rows):
                authors[mine] = [self._story_table.authors.id(at) for at in self._story_table.author[rows].tolist()]
                self._annotate(User(state, self._story_table), rows, shown_us[mine], out, mine)
        return out, pa.array(authors, pa.string()), known

    def _user(self, user_id: str, user_hash: int) -> UserLog:
        if user_hash not in self._users:
            self._users[user_hash] = self._log.of(self._snapshot.user(user_id), self.as_of_us)
        return self._users[user_hash]

    def _advance(self, end: int) -> None:
        """Applies the changes of stories up to number `end`, exclusive."""
        if end > self._applied:
            changes = self._log.story_changes(self._applied, end)
            self._story_table, self._applied = with_changes(self._story_table, changes, ""), end

    def _annotate(self, user: User, rows: Rows, shown_us: Micros, out: F32, at: NDArray[np.intp]) -> None:
        """Fills the columns `at` of `out` for rows shown to `user` at these moments. A story shown twice is a candidate twice, for
        candidates are different rows, ascending."""
        while len(rows):
            _, first = np.unique(rows, return_index=True)
            candidates = Candidates(rows[first], np.zeros(len(first), np.uint32))
            ctx = ShownContext(
                self._story_table,
                user,
                0,
                SETTINGS,
                RANKER,
                wanted=ALL,
                shown_us=shown_us[first],
                trace=Trace(strict=True),
            )
            columns = self._pipeline.annotate(ctx, candidates).columns
            if missing := sorted(ALL - columns.keys()):
                raise ValueError(f"nothing computes the features {', '.join(missing)} of features/registry.py")
            for place, feature in enumerate(FEATURES):
                out[place, at[first]] = columns[feature.name]
            if len(first) == len(rows):
                return
            again = np.delete(np.arange(len(rows)), first)
            rows, shown_us, at = rows[again], shown_us[again], at[again]


def _runs(order: NDArray[np.intp], *keys: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """`order`, which sorts by the keys, in pieces in which they are equal."""
    if not len(order):
        return []
    new = np.logical_or.reduce([key[order][1:] != key[order][:-1] for key in keys])
    return np.split(order, np.flatnonzero(new) + 1)
