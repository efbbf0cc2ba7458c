"""The final page: the only place where stories become objects."""

from __future__ import annotations

from itertools import repeat
from typing import Any
from weakref import WeakKeyDictionary

from features.raw_datasets import VISIBILITIES
from features.snapshot import ABSENT
from features.times import rfc3339_of, rfc3339_or_none
from online.columns import Candidates
from online.context import Context, Source
from online.slates.slate import ORGANIC
from online.story_table.story_columns import StoryColumns
from online.story_table.table import StoryTable

KEPT_STORIES = 20_000
"""What a page says of a story is kept for the next user: the popular ones, some 20 MB. Then all is forgotten at once."""
_kept: WeakKeyDictionary[StoryColumns, dict[int, dict[str, Any]]] = WeakKeyDictionary()
"""By story table, because a row means one version of one story in all the story tables that share its columns."""


def items(ctx: Context, entries: Candidates, first_position: int) -> list[dict[str, Any]]:
    """One dict per entry, as the API answers it. At most a hundred."""
    rows, scores = entries.rows.tolist(), entries.columns["score"].tolist()
    promotions = entries.columns["promotion"].tolist() if "promotion" in entries.columns else repeat(ORGANIC)
    known = _kept.setdefault(ctx.story_table.columns, {})
    brought_by: dict[int, tuple[Source, list[str]]] = {}
    out = []
    for i, (row, score, bits, promotion) in enumerate(zip(rows, scores, entries.sources.tolist(), promotions)):  # noqa: B905
        if (brought := brought_by.get(bits)) is None:
            found = [source for bit, source in enumerate(ctx.sources) if bits >> bit & 1]
            first = next((source for source in found if source.takes_slots), found[0])
            brought = brought_by[bits] = first, [source.name for source in found]
        first, sources = brought
        out.append(
            {
                **(known.get(row) or _of_story(ctx.story_table, row, known)),
                "position": first_position + i,
                "score": score,
                "sources": sources,
                "reason": first.reason_for(ctx.user, row),
                "promoted": promotion != ORGANIC,
            }
        )
    return out


def _of_story(story_table: StoryTable, row: int, known: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """The part of an item that is the same for every user, kept in `known`. Not to be written to."""
    if len(known) >= KEPT_STORIES:
        known.clear()
    found = known[row] = {
        "story_id": story_table.story_id(row),
        "author_id": story_table.authors.id(int(story_table.author[row])),
        "publication_id": story_table.publications.id(int(story_table.publication[row])),
        "topics": [story_table.topic_names.id(int(topic)) for topic in story_table.topics[row] if topic != ABSENT],
        "title": story_table.title(row),
        "published_at": rfc3339_or_none(int(story_table.published_at[row])),
    }
    return found


def known_document(story_table: StoryTable, story_id: str) -> dict[str, Any] | None:
    """The story as a document of the raw lake, without what a snapshot does not hold; None: the story table does not know it.

    `updated_at` is there when the version is the snapshot's; later ones have theirs in the document that was put.
    """
    row = story_table.row(story_id)
    if row < 0:
        return None
    story = story_table.story(row)
    of_snapshot = row < story_table.snapshot_rows
    return {
        "story_id": story_table.story_id(row),
        "author_id": story.author_id,
        "publication_id": story.publication_id,
        "topics": list(story.topics),
        "language": story.language,
        "title": story.title,
        "published_at": rfc3339_or_none(story.published_us),
        "visibility": VISIBILITIES[story.visibility],
        "members_only": story.members_only,
        **({"updated_at": rfc3339_of(int(story_table.snapshot_updated_at[row]))} if of_snapshot else {}),
    }
