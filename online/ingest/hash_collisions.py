"""Ids are found by their 64-bit hashes: two with one hash cannot both be known. Refused here, before a publish has to stop."""

from __future__ import annotations

from collections.abc import Sequence

from features.keys import hash64
from online.ingest.stories import HashCollision, Story
from online.story_table.names import Names
from online.story_table.table import StoryTable


def refuse_collisions(story_table: StoryTable, story_id: str, story: Story) -> None:
    """HashCollision when the story, or a name that it brings, has the hash of another one that the story table knows."""
    row = story_table.row(story_id)
    if row >= 0:
        _refuse_other(story_table.story_id(row), story_id)
    _refuse(story_table.authors, [story.author_id])
    _refuse(story_table.publications, [story.publication_id])
    _refuse(story_table.topic_names, story.topics or [])


def _refuse(names: Names, idents: Sequence[str | None]) -> None:
    of_hash: dict[int, str] = {}
    for ident, index in zip(idents, names.find(idents).tolist(), strict=True):
        if ident is not None:
            _refuse_other(names.id(index) or ident, ident)
            _refuse_other(of_hash.setdefault(hash64(ident), ident), ident)


def _refuse_other(known: str, ident: str) -> None:
    if known != ident:
        raise HashCollision(f"the id {ident!r} has the same 64-bit hash as {known!r}; choose another id")
