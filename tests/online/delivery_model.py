"""What readers may see, worked out the slow and obvious way: the yardstick for the machine in delivery_machine.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Target = tuple[str, str]
"""(target_type, target_id)"""


@dataclass
class Story:
    """A story as it stands now."""

    story_id: str
    author: str
    publication: str | None
    topics: tuple[str, ...]
    visibility: str
    published_at: datetime
    withdrawn: bool = False

    def targets(self) -> set[Target]:
        """What a mute or a block of it can name."""
        named: set[Target] = {("author", self.author), *(("topic", topic) for topic in self.topics)}
        return named | {("publication", self.publication)} if self.publication else named


@dataclass
class Reader:
    """What one user has done."""

    edges: dict[str, set[Target]] = field(default_factory=lambda: {"follow": set(), "mute": set(), "block": set()})
    done_with: dict[str, set[str]] = field(default_factory=lambda: {"read": set(), "hide": set(), "report": set()})

    def may_see(self, story: Story, now: datetime) -> bool:
        """Whether no rule forbids the story to this user now."""
        if story.withdrawn or story.published_at > now or story.visibility == "unlisted":
            return False
        if story.visibility == "followers" and ("author", story.author) not in self.edges["follow"]:
            return False
        if any(story.story_id in ids for ids in self.done_with.values()):
            return False
        return not (story.targets() & (self.edges["mute"] | self.edges["block"]))


@dataclass
class SlateSeen:
    """A slate that an answer named for the first time."""

    user: str
    due: set[str] | None
    """Stories that were suitable when it was built and ever since; None: built unseen, so not known."""
    newest: tuple[datetime, str]
    """(published_at, story_id) of the newest story when it was built."""


@dataclass
class PaginationSession:
    """One pagination session, as the client that follows it knows it."""

    user: str
    surface: str
    slates: list[str]
    due: set[str] | None
    served: list[str] = field(default_factory=list)
    cursor: str | None = None


@dataclass
class Site:
    """Stories, readers, and what was answered to them."""

    now: datetime
    stories: dict[str, Story] = field(default_factory=dict)
    readers: dict[str, Reader] = field(default_factory=dict)
    slates: dict[str, SlateSeen] = field(default_factory=dict)
    pagination_sessions: list[PaginationSession] = field(default_factory=list)

    def suitable(self, user: str) -> set[str]:
        """Everything the user may see now."""
        return {story.story_id for story in self.stories.values() if self.readers[user].may_see(story, self.now)}

    def newest(self) -> tuple[datetime, str]:
        """The newest story that is out."""
        return max((s.published_at, s.story_id) for s in self.stories.values() if s.published_at <= self.now)

    def note_change(self) -> None:
        """After any change: what is not suitable any more is no longer due in any running pagination session or slate."""
        suitable = {user: self.suitable(user) for user in self.readers}
        for holder in (*self.slates.values(), *self.pagination_sessions):
            if holder.due is not None:
                holder.due &= suitable[holder.user]

    def note_lost_reason(self, user: str, story: Story) -> None:
        """After the user, or the story, has parted with a target. An entry that came for the follow of it goes from the slates
        that there are, whatever else brought it; nobody outside can tell which did, so the story is due in them no more."""
        for holder in (*self.slates.values(), *self.pagination_sessions):
            if holder.user == user and holder.due is not None:
                holder.due.discard(story.story_id)

    def newer(self, user: str, newest: tuple[datetime, str]) -> set[str]:
        """Stories newer than `newest` that the user may see now."""
        stories = (self.stories[story_id] for story_id in self.suitable(user))
        return {story.story_id for story in stories if (story.published_at, story.story_id) > newest}


def document(story: Story) -> dict[str, Any]:
    """The body of a PUT."""
    return {
        "author_id": story.author,
        "publication_id": story.publication,
        "topics": list(story.topics),
        "title": f"About {story.story_id}",
        "published_at": story.published_at.isoformat(),
        "visibility": story.visibility,
    }
