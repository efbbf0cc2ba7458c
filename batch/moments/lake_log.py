"""What the lake has received, in order of receipt: changes of stories, and what each user did that a server keeps for feeds.

One file for all moments of a run, read in place. A server has the same in Redis; see `online/user/store.py` for what it reads there.
An event counts as received once its story is known, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from batch.moments.arrow_file import Tables, column, read_tables, written
from features.arrays import Hashes, Micros
from features.choices import BLOCKED_BY, STORY_CHOICES, applies_on_arrival
from features.duckdb_views import connect_to
from features.interactions import ONLINE_CODES
from features.keys import hash64_many
from features.raw_datasets import VISIBILITIES
from features.times import FOREVER_US, UNDATED
from online.story_table.story_change import StoryChange, StoryVersion
from online.user.user import ANNOTATED, INTERACTION, INTERACTIONS_KEPT, EdgeChange, UserState

READS = ("valid_stories", "valid_events", "valid_edges")
LOG = "log"
"""Name of the file."""
_KEPT = np.dtype([*INTERACTION.descr, ("occurred_ms", "<i8")])
"""An interaction and when it was last done."""

_STORIES = f"""
WITH version AS (
    SELECT *, epoch_us(valid_from) AS received_us FROM valid_stories WHERE valid_until IS NULL OR valid_from < valid_until
)
SELECT story_id, story_hash, author_id, publication_id,
    coalesce(list_filter(topics, lambda topic: topic IS NOT NULL), []) AS topics, language, title,
    coalesce(epoch_us(published_at), {UNDATED}) AS published_us, coalesce(visibility, 'public') AS visibility,
    coalesce(members_only, false) AS members_only, received_us, coalesce(deleted_at <= valid_from, false) AS withdrawn
FROM version
UNION ALL
SELECT story_id, story_hash, NULL, NULL, [], NULL, NULL, 0, NULL, NULL, epoch_us(deleted_at), true
FROM version WHERE deleted_at > valid_from AND (valid_until IS NULL OR deleted_at < valid_until)
ORDER BY received_us, story_id, withdrawn
"""
"""Every version when it was received, and withdrawals that were announced, when their time comes."""

_INTERACTIONS = f"""
SELECT users.hash AS user, stories.hash AS story, code::UTINYINT AS type, epoch_us(occurred_at) // 1000 AS occurred_ms,
    epoch_us(valid_from) AS received_us
FROM valid_events JOIN ids users ON user_id = users.id JOIN ids stories ON story_id = stories.id
JOIN (VALUES {", ".join(f"('{name}', {code})" for name, code in ONLINE_CODES.items())}) codes (type, code) USING (type)
WHERE occurred_at IS NOT NULL
ORDER BY user, received_us, occurred_ms, story, type
"""

_EDGES = f"""
WITH edge AS (
    SELECT users.hash AS user, epoch_us(valid_from) AS received_us, coalesce(epoch_us(valid_until), {FOREVER_US}) AS until_us,
        kind, target_type, target_id, targets.hash AS target, op = 'add' AS added, user_id
    FROM valid_edges JOIN ids users ON user_id = users.id JOIN ids targets ON target_id = targets.id
    WHERE valid_until IS NULL OR valid_from < valid_until
)
SELECT * EXCLUDE (user_id) FROM edge
UNION ALL
SELECT target, received_us, until_us, '{BLOCKED_BY}', target_type, user_id, user, added FROM edge
WHERE kind = 'block' AND target_type = 'author'
ORDER BY ALL
"""
"""Each while it is in force, and blocks from the other side, too."""

_CHOICES = f"""
SELECT users.hash AS user, epoch_us(valid_from) AS received_us, epoch_us(occurred_at) AS occurred_us, kind, op,
    story_id AS target_id, stories.hash AS target
FROM valid_events JOIN ids users ON user_id = users.id JOIN ids stories ON story_id = stories.id
JOIN (VALUES {", ".join(f"('{name}', '{kind}', '{op}')" for name, (kind, op) in STORY_CHOICES.items())}) choices (type, kind, op) USING (type)
WHERE occurred_at IS NOT NULL
ORDER BY ALL
"""
"""What users want to see no more, and what they take back."""


_IDS = """
SELECT user_id AS id FROM valid_events UNION SELECT story_id FROM valid_events
UNION SELECT user_id FROM valid_edges UNION SELECT target_id FROM valid_edges
"""


def write_log(lake: Path, as_of: datetime) -> Path:
    """The file of what was validated at `as_of`. BadInput when that cannot be read."""
    partitions = dict.fromkeys(READS, as_of)

    def make() -> Tables:
        with connect_to(lake, partitions) as db:
            ids = db.sql(_IDS).to_arrow_table()["id"]
            db.register("hashed", pa.table({"id": ids, "hash": hash64_many(ids.to_pylist())}))
            db.execute("CREATE TEMP TABLE ids AS FROM hashed")
            queries = {"stories": _STORIES, "interactions": _INTERACTIONS, "edges": _EDGES, "choices": _CHOICES}
            return {name: db.sql(query).to_arrow_table() for name, query in queries.items()}

    return written(lake, LOG, partitions, make)


@dataclass(frozen=True)
class LakeLog:
    """The log of a lake: tables as the queries above select them, in place."""

    stories: pa.Table
    """By `received_us`."""
    interactions: Mapping[str, np.ndarray]
    """Column → values, by `user`, then `received_us`; so are the tables below."""
    edges: pa.Table
    choices: pa.Table

    @cached_property
    def stories_received(self) -> Micros:
        """int64[v], ascending: when each change of a story was received."""
        received: Micros = column(self.stories, "received_us").to_numpy()
        return received

    def story_changes(self, first: int, end: int) -> list[StoryChange]:
        """The changes from number `first` to before `end`, as the story stream would bring them."""
        rows = self.stories.slice(first, end - first).to_pylist()
        return [
            StoryChange(row["story_id"], row["story_hash"], None if row["withdrawn"] else _version(row)) for row in rows
        ]

    def of(self, user: UserState, as_of_us: int) -> UserLog:
        """What a user, as the snapshot of `as_of_us` knows them, did at any time."""
        first, end = np.searchsorted(self.interactions["user"], [user.user_hash, user.user_hash + 1])
        interactions = {name: values[first:end] for name, values in self.interactions.items()}
        return UserLog(
            user,
            as_of_us,
            interactions,
            _rows_of(self.edges, user.user_hash),
            _rows_of(self.choices, user.user_hash),
        )


def open_log(path: Path) -> LakeLog:
    """The log in a file of `write_log`. BadInput when it is damaged."""
    tables = read_tables(path)
    of = tables["interactions"]
    interactions = {name: column(of, name).to_numpy() for name in of.column_names}
    return LakeLog(tables["stories"], interactions, tables["edges"], tables["choices"])


def _rows_of(table: pa.Table, user_hash: int) -> list[dict[str, Any]]:
    first, end = np.searchsorted(column(table, "user").to_numpy(), [user_hash, user_hash + 1])
    rows: list[dict[str, Any]] = table.slice(first, end - first).to_pylist()
    return rows


def _version(row: Mapping[str, Any]) -> StoryVersion:
    return StoryVersion(
        author_id=row["author_id"],
        publication_id=row["publication_id"],
        topics=tuple(dict.fromkeys(row["topics"])),
        language=row["language"],
        title=row["title"],
        published_us=row["published_us"],
        visibility=VISIBILITIES.index(row["visibility"]),
        members_only=row["members_only"],
    )


class ShownState(UserState):
    """A user when they were shown something, as far as annotators may ask."""

    def stories(self, interaction: str) -> Hashes:
        """ValueError for an interaction that features do not depend on: it may be missing here."""
        if interaction not in ANNOTATED:
            raise ValueError(f"no feature depends on {interaction} yet; add it to ANNOTATED in online/user/user.py")
        return UserState.stories(self, interaction)


class UserLog:
    """What one user did, walked through in order of receipt: what an earlier moment has seen is not looked at again."""

    def __init__(
        self,
        snapshot: UserState,
        as_of_us: int,
        interactions: Mapping[str, np.ndarray],
        edges: Sequence[Mapping[str, Any]],
        choices: Sequence[Mapping[str, Any]],
    ) -> None:
        """Of whom, and since when edges count as changed; the rest as in LakeLog."""
        self._state = ShownState(snapshot.user_id, snapshot.user_hash, snapshot.profile)
        self._as_of_us = as_of_us
        self._interactions, self._edges, self._choices = interactions, edges, choices
        self._at, self._done = -1, 0
        self._kept = np.empty(0, _KEPT)
        """The latest INTERACTIONS_KEPT of the first `_done`, newest first."""
        ends = [row["until_us"] for row in edges if row["until_us"] != FOREVER_US]
        begins = [row["received_us"] for row in (*edges, *choices)]
        annotated = np.isin(interactions["type"], [ONLINE_CODES[name] for name in ANNOTATED])
        received = interactions["received_us"][annotated]
        self._changed_us = np.unique(np.concatenate((received, np.array(begins + ends, np.int64))))

    def number(self, before_us: Micros) -> Micros:
        """int64[n]: equal for moments between which nothing became known that features depend on, and ascending with them."""
        return np.searchsorted(self._changed_us, before_us)

    def state(self, before_us: int) -> ShownState:
        """What a server would have read just before a moment, or since the last thing that features depend on. Moments must ascend."""
        if (at := int(np.searchsorted(self._changed_us, before_us))) != self._at:
            changes = (*self._edge_changes(before_us), *self._story_choices(before_us))
            self._at = at
            known = self._state
            self._state = ShownState(known.user_id, known.user_hash, known.profile, changes, self._latest(before_us))
        return self._state

    def _edge_changes(self, before_us: int) -> list[EdgeChange]:
        """Edges changed since the snapshot, as they are in force."""
        since = self._as_of_us
        rows = [row for row in self._edges if since < row["received_us"] < before_us <= row["until_us"]]
        return [_change(row, row["target_type"], row["added"]) for row in rows]

    def _story_choices(self, before_us: int) -> list[EdgeChange]:
        """Stories that the user ever hid or reported, or took that back, by the rule of features/choices.py."""
        last: dict[tuple[str, int], Mapping[str, Any]] = {}
        for row in self._choices:
            if row["received_us"] >= before_us:
                break
            before = last.get(key := (row["kind"], row["target"]))
            if (
                before is None
                or row["occurred_us"] >= before["occurred_us"]
                or applies_on_arrival(row["kind"], row["op"])
            ):
                last[key] = row
        return [_change(row, "story", row["op"] == "add") for row in last.values()]

    def _latest(self, before_us: int) -> np.ndarray:
        """INTERACTION[m], newest first: those that Redis would keep, each once, in its order.

        Of one time it orders by the bytes of a member.
        """
        of = self._interactions
        end = int(np.searchsorted(of["received_us"], before_us))
        if end > self._done:
            new = np.empty(end - self._done, _KEPT)
            for name in _KEPT.names or ():
                new[name] = of[name][self._done : end]
            rows = np.concatenate((self._kept, new))
            rows = rows[np.lexsort((rows["type"], rows["story"].view(">u8"), rows["occurred_ms"]))[::-1]]
            _, first = np.unique(rows[["story", "type"]], return_index=True)
            self._kept, self._done = rows[np.sort(first)[:INTERACTIONS_KEPT]], end
        return self._kept[["story", "type"]].astype(INTERACTION)


def _change(row: Mapping[str, Any], target_type: str, added: bool) -> EdgeChange:
    """Whether it applied is settled: the lake has judged it."""
    return EdgeChange(row["kind"], target_type, row["target"], added, settled=True, target_id=row["target_id"])
