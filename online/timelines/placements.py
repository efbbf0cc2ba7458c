"""Under which targets and date a story was last fanned out, so that a change takes it away from where it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import redis

from features.keys import Keys, hash64
from features.raw_datasets import VISIBILITIES
from features.streams import StreamEntry, stream_order
from online.story_table.story_change import StoryVersion
from online.timelines.targets import Target

SCANNED = 1000
"""Records looked at per step of tidying up."""


@dataclass(frozen=True, slots=True)
class Placement:
    """What decides into whose timelines a story belongs, and where."""

    author: int | None
    """Hash; None: no author."""
    publication: int | None
    for_followers: bool
    """Of the author only."""
    published_us: int

    def targets(self) -> list[Target]:
        """Those to whose followers the story is delivered."""
        found = [] if self.author is None else [Target("author", self.author)]
        if self.publication is not None and not self.for_followers:
            found.append(Target("publication", self.publication))
        return found


@dataclass(frozen=True, slots=True)
class Record:
    """The last fan-out of one story."""

    placement: Placement | None
    """None: it belongs in no timeline."""
    entry_id: str
    """The stream entry by which that is so."""
    placed: bool
    """False: it is dated ahead and waits for its time."""


def placement_of(version: StoryVersion | None) -> Placement | None:
    """None for a story that is withdrawn or unlisted."""
    if version is None or VISIBILITIES[version.visibility] == "unlisted":
        return None
    author, publication = (
        None if ident is None else hash64(ident) for ident in (version.author_id, version.publication_id)
    )
    return Placement(author, publication, VISIBILITIES[version.visibility] == "followers", version.published_us)


class Placements:
    """The records. One is needed for as long as the entry it names can come again, and some snapshot lacks it."""

    def __init__(self, client: redis.Redis, keys: Keys, ttl_s: int) -> None:
        self._client = client
        self._keys = keys
        self._ttl_s = ttl_s

    def get(self, stories: Sequence[int]) -> list[Record | None]:
        """One for each story hash; None: it was never fanned out, or long ago."""
        if not stories:
            return []
        found = cast("list[bytes | None]", self._client.hmget(self._keys.placed(), [str(one) for one in stories]))
        return [None if raw is None else _decode(raw) for raw in found]

    def put(self, story: int, record: Record) -> None:
        """Remembers the fan-out; the last thing that is done of it."""
        pipe = self._client.pipeline(transaction=True)
        pipe.hset(self._keys.placed(), str(story), _encode(record))
        pipe.expire(self._keys.placed(), self._ttl_s)
        pipe.execute()

    def tidy_up(self) -> None:
        """Forgets what every kept snapshot holds: records by entries that are no longer in the story stream."""
        oldest = cast("list[StreamEntry]", self._client.xrange(self._keys.story_stream(), count=1))
        if not oldest:
            return
        kept_from = stream_order(oldest[0][0].decode())
        for story, raw in self._client.hscan_iter(self._keys.placed(), count=SCANNED):
            if stream_order(_decode(raw).entry_id) < kept_from:
                self._client.hdel(self._keys.placed(), story)


def _encode(record: Record) -> str:
    one = record.placement
    where: list[Any] = ["", "", "", ""]
    if one is not None:
        where = [_text(one.author), _text(one.publication), int(one.for_followers), one.published_us]
    return "|".join(map(str, (*where, record.entry_id, int(record.placed))))


def _text(target: int | None) -> str:
    return "" if target is None else str(target)


def _decode(raw: bytes) -> Record:
    author, publication, for_followers, published_us, entry_id, placed = raw.decode().split("|")
    placement = None
    if published_us:
        author_hash, publication_hash = (int(one) if one else None for one in (author, publication))
        placement = Placement(author_hash, publication_hash, for_followers == "1", int(published_us))
    return Record(placement, entry_id, placed == "1")
