"""The story table as the serving process holds it: a snapshot, and behind its rows what the story stream brought since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from features.arrays import F32, I32, Bools, Hashes, Micros
from features.keys import hash64
from features.snapshot import ABSENT, NO_CAP, Manifest
from online.columns import Rows
from online.story_table.lookup import EdgeTargets, FormerKeys, Grouping, HashIndex
from online.story_table.names import Names
from online.story_table.story_change import StoryVersion
from online.story_table.story_columns import StoryColumns


@dataclass(frozen=True, slots=True)
class Promotions:
    """k promotions, by priority (highest first), then promotion_id. Immutable."""

    hashes: Hashes
    """int64[k]: hash of the promotion_id."""
    rows: Rows
    """int32[k] of the snapshot's story table; may be superseded, see `StoryTable.current`."""
    starts_at: Micros
    ends_at: Micros
    """The first moment after."""
    daily_cap: I32
    """Slate entries a user and UTC day; NO_CAP: any number."""

    def __len__(self) -> int:
        return len(self.hashes)

    @property
    def caps(self) -> dict[int, int]:
        """Promotion hash → daily cap."""
        return dict(zip(self.hashes.tolist(), self.daily_cap.tolist(), strict=True))

    def running(self, now_us: int) -> Bools:
        """bool[k]"""
        return (self.starts_at <= now_us) & (now_us < self.ends_at)

    def under_cap(self, placed: Mapping[int, int]) -> Bools:
        """bool[k]: there is room for another entry today; `placed`: promotion hash → entries placed today."""
        today = np.array([placed.get(promotion, 0) for promotion in self.hashes.tolist()], np.int64)
        return (self.daily_cap == NO_CAP) | (today < self.daily_cap)


@dataclass(frozen=True, slots=True)
class StoryTable:
    """Immutable; `updated` (updates.py) gives the next one. n stories, A authors, P publications, T topics, L languages.

    The first `snapshot_rows` rows are the snapshot's, by (published_at, story_id). Behind them, in the order of the stream,
    comes a row for every version put since; it supersedes the row that the story had before. Rows never change.
    """

    manifest: Manifest
    position: str
    """Id of the last entry of the story stream that is in here."""
    snapshot_rows: int
    snapshot_ids: pa.Array  # string[snapshot_rows]
    snapshot_titles: pa.Array  # string[snapshot_rows], nullable
    snapshot_updated_at: Micros
    """int64[snapshot_rows]: when the snapshot's version of each story came to be."""
    columns: StoryColumns
    """What the arrays below are views of, and the ids and titles of the later rows."""
    hashes: Hashes
    by_hash: HashIndex
    """Hash of a story → its newest row."""
    author: I32
    publication: I32
    topics: I32  # [n, t], ABSENT at the end
    language: I32
    published_at: Micros
    visibility: np.ndarray  # int8[n]
    members_only: Bools
    duplicate_key: Hashes
    vectors: F32  # [factors, n]
    similar: Rows  # [n, SIMILAR_KEPT]; may be superseded, see `current`
    similarity: F32  # [n, SIMILAR_KEPT]
    static: dict[str, F32]
    """Features that do not depend on the user, float32[n] each, those of author, publication, topics and language included."""
    authors: Names
    publications: Names
    topic_names: Names
    languages: Names
    rows_by_language: I32
    """int32[L + 1]: how many rows open to everyone there are in each language, superseded ones included; the last entry: in none
    known."""
    rows_by_author: Grouping
    """Superseded rows included, as in the other two."""
    rows_by_publication: Grouping
    rows_by_topic: Grouping
    top: dict[int, Rows]
    """Language → trending rows, hottest first; ABSENT: over all languages. They may be superseded, see `current`."""
    author_since: Micros
    """int64[A + 1]: published_at of each author's earliest row; the greatest int64 where there is none, and for index -1."""
    superseded: Rows
    """int32[s], ascending: rows that are no candidates any more, because their story has a newer one."""
    withdrawn: Bools | None
    """bool[n]: withdrawn since the snapshot; None: no story was."""
    promotions: Promotions
    """Their rows may be superseded, see `current`."""
    targets: EdgeTargets
    """Ids of what edges name and no story does."""
    former_keys: FormerKeys
    """Duplicate keys of versions that are superseded, and of stories that the snapshot no longer holds."""

    def __len__(self) -> int:
        return len(self.hashes)

    @property
    def version(self) -> str:
        return self.manifest.version

    def row(self, story_id: str) -> int:
        """The newest row of a story; -1: not known."""
        return int(self.by_hash.find(np.array([hash64(story_id)]))[0])

    def story_id(self, row: int) -> str:
        """The id of the story at `row`."""
        behind = row - self.snapshot_rows
        ident: str = self.columns.new_ids[behind] if behind >= 0 else self.snapshot_ids[row].as_py()
        return ident

    def title(self, row: int) -> str | None:
        """The title at `row`; None: unknown."""
        behind = row - self.snapshot_rows
        title: str | None = self.columns.new_titles[behind] if behind >= 0 else self.snapshot_titles[row].as_py()
        return title

    def story(self, row: int) -> StoryVersion:
        """Everything that is known of the story at `row`."""
        return StoryVersion(
            author_id=self.authors.id(int(self.author[row])),
            publication_id=self.publications.id(int(self.publication[row])),
            topics=tuple(str(self.topic_names.id(int(topic))) for topic in self.topics[row] if topic != ABSENT),
            language=self.languages.id(int(self.language[row])),
            title=self.title(row),
            published_us=int(self.published_at[row]),
            visibility=int(self.visibility[row]),
            members_only=bool(self.members_only[row]),
        )

    def current(self, rows: Rows) -> Rows:
        """int32[m] → int32[m]: superseded rows replaced by the newest ones of their stories."""
        return self.by_hash.find(self.hashes.take(rows)) if len(self.superseded) else rows
