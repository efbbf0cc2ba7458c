"""The final page: the only place where stories become objects."""

from __future__ import annotations

from itertools import repeat
from typing import Any
from weakref import WeakKeyDictionary

from features.raw_datasets import VISIBILITIES
from features.snapshot import ABSENT
from features.times import rfc3339_of, rfc3339_or_none
from online.columns import Candidates
from online.components import Components
from online.context import Context
from online.names import Names
from online.person import Person
from online.providers.followed_authors import FollowedAuthors
from online.providers.followed_publications import FollowedPublications
from online.slate import ORGANIC
from online.story_columns import StoryColumns
from online.world import World

PROMOTED = "Promoted"
"""What the reader is told of an entry that a promotion placed."""
KEPT_STORIES = 20_000
"""What is told of a story is kept for the next reader: the popular ones, some 20 MB. Then all is forgotten at once."""
_kept: WeakKeyDictionary[StoryColumns, dict[int, dict[str, Any]]] = WeakKeyDictionary()
"""By story table, because a row means one version of one story in all the worlds that share its columns."""


def items(ctx: Context, components: Components, entries: Candidates, first_position: int) -> list[dict[str, Any]]:
    """One dict per entry, as the API answers it. At most a hundred."""
    rows, scores = entries.rows.tolist(), entries.columns["score"].tolist()
    promotions = entries.columns["promotion"].tolist() if "promotion" in entries.columns else repeat(ORGANIC)
    told = []
    for i, (row, score, bits, promotion) in enumerate(zip(rows, scores, entries.sources.tolist(), promotions)):  # noqa: B905
        providers = [provider for bit, provider in enumerate(components.providers) if bits >> bit & 1]
        told.append(
            {
                **_of_story(ctx.world, row),
                "position": first_position + i,
                "score": score,
                "sources": [provider.name for provider in providers],
                "reason": _told(ctx.person, providers[0].reason, row) if promotion == ORGANIC else PROMOTED,
                "promoted": promotion != ORGANIC,
            }
        )
    return told


def _of_story(world: World, row: int) -> dict[str, Any]:
    """The part of an item that is the same for every reader. Not to be written to."""
    kept = _kept.setdefault(world.columns, {})
    if (found := kept.get(row)) is not None:
        return found
    if len(kept) >= KEPT_STORIES:
        kept.clear()
    found = kept[row] = {
        "story_id": world.story_id(row),
        "author_id": world.authors.id(int(world.author[row])),
        "publication_id": world.publications.id(int(world.publication[row])),
        "topics": [world.topic_names.id(int(topic)) for topic in world.topics[row] if topic != ABSENT],
        "title": world.title(row),
        "published_at": rfc3339_or_none(int(world.published_at[row])),
    }
    return found


def _told(person: Person, reason: str, row: int) -> str:
    """The reason with its blanks filled: whom of the two is followed, the publication, the first followed topic."""
    world = person.world
    if reason == "{followed}":
        marks = person.marks("follow", "author")
        by_author = marks is not None and marks[world.author[row]] > 0
        reason = FollowedAuthors.reason if by_author else FollowedPublications.reason
    if "{publication}" in reason:
        return reason.format(publication=world.publications.id(int(world.publication[row])))
    if "{topic}" in reason:
        marks = person.marks("follow", "topic")
        followed = [int(topic) for topic in world.topics[row] if marks is not None and marks[topic] > 0]
        return reason.format(topic=_name(world.topic_names, followed))
    return reason


def _name(names: Names, indices: list[int]) -> str | None:
    return names.id(indices[0]) if indices else None


def known_document(world: World, story_id: str) -> dict[str, Any] | None:
    """The story as a document of the raw lake, without what a snapshot does not hold; None: the world does not know it.

    `updated_at` is there when the version is the snapshot's; later ones have theirs in the document that was put.
    """
    row = world.row(story_id)
    if row < 0:
        return None
    story = world.story(row)
    of_snapshot = row < world.snapshot_rows
    return {
        "story_id": world.story_id(row),
        "author_id": story.author_id,
        "publication_id": story.publication_id,
        "topics": list(story.topics),
        "language": story.language,
        "title": story.title,
        "published_at": rfc3339_or_none(story.published_us),
        "visibility": VISIBILITIES[story.visibility],
        "members_only": story.members_only,
        **({"updated_at": rfc3339_of(int(world.snapshot_updated_at[row]))} if of_snapshot else {}),
    }
