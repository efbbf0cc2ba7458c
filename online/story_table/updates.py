"""How a story table is updated: entries of the story stream become rows behind the ones that are there."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from features.arrays import I32, Bools, Micros
from features.packing import CorruptValue
from features.raw_datasets import VISIBILITIES
from features.streams import StreamEntry
from online.columns import Rows
from online.story_table.lookup import FormerKeys
from online.story_table.new_rows import NamesNow, StoryRows, new_rows
from online.story_table.story_change import StoryChange, StoryVersion, decode_change
from online.story_table.table import StoryTable

log = logging.getLogger("rex.online")

NEVER = np.iinfo(np.int64).max
"""Since when an author without a story has been publishing."""


@dataclass(slots=True)
class _Added:
    """What a few entries add to a story table, one after the other."""

    story_table: StoryTable
    stories: list[StoryChange] = field(default_factory=list)
    """One a new row."""
    versions: list[StoryVersion] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)
    """For each, the first row in its story's history: what was learned of the story is taken from there."""
    superseded: list[int] = field(default_factory=list)
    withdrawn: set[int] = field(default_factory=set)
    newest: dict[int, int] = field(default_factory=dict)
    """Hash → row, of stories with a row among the new ones."""

    def apply(self, change: StoryChange, known: int) -> None:
        """`known`: the story's newest row in the story table, -1 for none."""
        row = self.newest.get(change.story_hash, known)
        if change.version is None:
            if row >= 0:
                self.withdrawn.add(row)
        elif row < 0 or self._is_withdrawn(row) or self._version(row) != change.version:
            self._put(change, change.version, row)

    def _put(self, change: StoryChange, version: StoryVersion, before: int) -> None:
        row, n = len(self.story_table) + len(self.stories), len(self.story_table)
        self.newest[change.story_hash] = row
        self.stories.append(change)
        self.versions.append(version)
        self.origins.append(row if before < 0 else before if before < n else self.origins[before - n])
        if before >= 0:
            self.superseded.append(before)

    def _version(self, row: int) -> StoryVersion:
        behind = row - len(self.story_table)
        return self.versions[behind] if behind >= 0 else self.story_table.story(row)

    def _is_withdrawn(self, row: int) -> bool:
        before = self.story_table.withdrawn
        return row in self.withdrawn or (before is not None and row < len(before) and bool(before[row]))


def updated(story_table: StoryTable, entries: Sequence[StreamEntry]) -> StoryTable:
    """The story table with later entries of the story stream applied in order; how they are cut into calls does not matter.

    Entries that hold no story are logged and skipped. Safe from several threads; cheap from one after the other.
    """
    if not entries:
        return story_table
    return with_changes(story_table, _decoded(entries), entries[-1][0].decode())


def with_changes(story_table: StoryTable, changes: Sequence[StoryChange], position: str) -> StoryTable:
    """The story table with later changes applied in order; `position`: of the last of them in the story stream."""
    added = _Added(story_table)
    known = story_table.by_hash.find(np.array([change.story_hash for change in changes], np.int64))
    for change, row in zip(changes, known.tolist(), strict=True):
        added.apply(change, row)
    moved = _with_rows(story_table, added) if added.stories else story_table
    return replace(
        moved,
        position=position,
        superseded=np.union1d(story_table.superseded, added.superseded).astype(np.int32),
        withdrawn=_marked(story_table.withdrawn, len(moved), sorted(added.withdrawn)),
    )


def _decoded(entries: Sequence[StreamEntry]) -> list[StoryChange]:
    changes = []
    for position, fields in entries:
        try:
            changes.append(decode_change(fields))
        except CorruptValue as error:
            log.error("entry %s is skipped: %s", position.decode(), error)
    return changes


def _with_rows(story_table: StoryTable, added: _Added) -> StoryTable:
    n, versions = len(story_table), added.versions
    names = NamesNow(
        author=story_table.authors.updated(version.author_id for version in versions),
        publication=story_table.publications.updated(version.publication_id for version in versions),
        topic=story_table.topic_names.updated(topic for version in versions for topic in version.topics),
        language=story_table.languages.updated(version.language for version in versions),
    )
    story_ids = [change.story_id for change in added.stories]
    hashes = np.array([change.story_hash for change in added.stories], np.int64)
    new = new_rows(story_table, names, versions, hashes, np.array(added.origins, np.int32))
    columns = story_table.columns.append(n, new, story_ids, [version.title for version in versions])
    rows = np.arange(n, n + len(versions), dtype=np.int32)
    return replace(
        story_table,
        columns=columns,
        **columns.fields(n + len(versions)),
        by_hash=story_table.by_hash.extended(hashes, rows),
        authors=names.author,
        publications=names.publication,
        topic_names=names.topic,
        languages=names.language,
        rows_by_language=counted(story_table.rows_by_language, len(names.language), new),
        rows_by_author=story_table.rows_by_author.extended(new["author"], rows),
        rows_by_publication=story_table.rows_by_publication.extended(new["publication"], rows),
        rows_by_topic=story_table.rows_by_topic.extended(
            new["topics"].ravel(), np.repeat(rows, new["topics"].shape[1])
        ),
        author_since=earliest(story_table.author_since, len(names.author), new["author"], new["published_at"]),
        former_keys=_with_former_keys(
            story_table, columns.fields(n + len(versions)), np.array(added.superseded, np.int32)
        ),
    )


def _with_former_keys(story_table: StoryTable, columns: dict[str, Any], superseded: Rows) -> FormerKeys:
    """Those of the story table, and of the rows that are superseded now."""
    if not len(superseded):
        return story_table.former_keys
    return story_table.former_keys.extended(columns["hashes"][superseded], columns["duplicate_key"][superseded])


def counted(before: I32, languages: int, stories: StoryRows) -> I32:
    """int32[languages + 1]: the counts `before` of fewer languages, brought up to date with more stories; the last: of none.

    Counted are stories that are open to everyone.
    """
    language = stories["language"][(stories["visibility"] == VISIBILITIES.index("public")) & ~stories["members_only"]]
    out = np.bincount(np.where(language < 0, languages, language), minlength=languages + 1).astype(np.int32)
    out[: len(before) - 1] += before[:-1]
    out[-1] += before[-1]
    return out


def earliest(since: Micros, authors: int, author: I32, published_at: Micros) -> Micros:
    """int64[authors + 1]: `since` of fewer authors, brought up to date with more stories."""
    out = np.full(authors + 1, NEVER)
    out[: len(since) - 1] = since[:-1]
    known = author >= 0
    np.minimum.at(out, author[known], published_at[known])
    return out


def _marked(before: Bools | None, n: int, rows: list[int]) -> Bools | None:
    """bool[n]: `before`, which may be shorter, and `rows`; None where there is none."""
    if before is None and not rows:
        return None
    out = np.zeros(n, bool)
    if before is not None:
        out[: len(before)] = before
    out[rows] = True
    return out
