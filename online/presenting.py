"""The final page: the only place where stories become objects."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from features.raw_datasets import VISIBILITIES
from features.snapshot import ABSENT
from online.columns import Candidates
from online.components import Components
from online.context import Context
from online.names import Names
from online.person import Person
from online.world import World


def items(ctx: Context, components: Components, entries: Candidates, first_position: int) -> list[dict[str, Any]]:
    """One dict per entry, as the API answers it. At most a hundred."""
    return [_item(ctx, components, entries, i, first_position + i) for i in range(len(entries))]


def _item(ctx: Context, components: Components, entries: Candidates, i: int, position: int) -> dict[str, Any]:
    world, row = ctx.world, int(entries.rows[i])
    providers = [p for bit, p in enumerate(components.providers) if int(entries.sources[i]) >> bit & 1]
    return {
        "story_id": world.story_id(row),
        "author_id": world.authors.id(int(world.author[row])),
        "publication_id": world.publications.id(int(world.publication[row])),
        "topics": [world.topic_names.id(int(topic)) for topic in world.topics[row] if topic != ABSENT],
        "title": world.title(row),
        "published_at": timestamp(int(world.published_at[row])),
        "position": position,
        "score": float(entries.columns["score"][i]),
        "sources": [provider.name for provider in providers],
        "reason": _told(ctx.person, providers[0].reason, row),
        "promoted": False,
    }


def _told(person: Person, reason: str, row: int) -> str:
    """The reason with its blanks filled: the publication, or the first of the story's topics that is followed."""
    world = person.world
    if "{publication}" in reason:
        return reason.format(publication=world.publications.id(int(world.publication[row])))
    if "{topic}" in reason:
        marks = person.marks("follow", "topic")
        followed = [int(topic) for topic in world.topics[row] if marks is not None and marks[topic] > 0]
        return reason.format(topic=_name(world.topic_names, followed))
    return reason


def _name(names: Names, indices: list[int]) -> str | None:
    return names.id(indices[0]) if indices else None


def timestamp(micros: int) -> str:
    """RFC 3339, UTC, from microseconds since 1970."""
    return datetime.fromtimestamp(micros / 1e6, UTC).isoformat().replace("+00:00", "Z")


def document(world: World, row: int) -> dict[str, Any]:
    """The story at `row` as a document of the raw lake (without what the snapshot does not hold)."""
    story = world.story(row)
    return {
        "story_id": world.story_id(row),
        "author_id": story.author_id,
        "publication_id": story.publication_id,
        "topics": list(story.topics),
        "language": story.language,
        "title": story.title,
        "published_at": timestamp(story.published_us),
        "visibility": VISIBILITIES[story.visibility],
        "members_only": story.members_only,
    }
