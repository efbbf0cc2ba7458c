"""A small site whose timelines are watched: the real parts over a real Redis, without HTTP, and the slow and obvious truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import redis

from batch.publish import publish_content
from features.keys import Keys, hash64
from features.settings import Settings
from features.times import micros, utc_day
from online.columns import Rows
from online.components import default_components
from online.context import Context
from online.feed.presenting import known_document
from online.ingest.stories import Story
from online.metrics import Metrics
from online.providers.timeline import TimelineStories
from online.service_settings import OnlineSettings
from online.timelines.fanout import FanOut
from online.timelines.timeline import Timeline as Decoded
from online.timelines.timeline import decode_timeline
from online.user.store import UserStore
from online.wiring import wire
from tests.online.small_world import NOW, content

Edge = tuple[str, str, str]
"""(kind, target_type, target_id)"""


@dataclass
class Version:
    """A story as it was last put."""

    author: str | None
    publication: str | None
    published_at: datetime
    visibility: str = "public"
    withdrawn: bool = False


@dataclass
class Site:
    """Publishes, follows and reads as a site would; `expected` says what a timeline has to bring."""

    client: redis.Redis
    settings: Settings
    online: OnlineSettings
    dedupe: bool = True
    now: datetime = NOW
    stories: dict[str, Version] = field(default_factory=dict)
    edges: dict[str, set[Edge]] = field(default_factory=dict)
    sent: int = 0

    def __post_init__(self) -> None:
        self.keys = Keys(self.settings.redis_prefix)
        self.rex = wire(self.client, self.settings, self.online, default_components(), lambda: self.now, Metrics())
        self.store = UserStore(self.client, self.keys)
        self.worker = self.new_worker()

    def new_worker(self, client: redis.Redis | None = None) -> FanOut:
        """A worker as after a restart."""
        live = self.rex.live
        return FanOut(client or self.client, self.keys, self.online, live, lambda: self.now, dedupe=self.dedupe)

    # The snapshot.

    def open(self, users: dict[str, dict[str, Any]] | None = None) -> None:
        """Publishes what there is as a snapshot that holds all of it, and loads it."""
        positions = {}
        for stream in (self.keys.story_stream(), *map(self.keys.event_stream, range(16))):
            if tail := self.client.xrevrange(stream, count=1):
                positions[stream] = tail[0][0].decode()
        made = content(self._as_snapshot(), users or self._as_users(), self.now, positions=positions)
        publish_content(lambda: made, self.client, self.keys, now=self.now, kept=2)
        self.rex.live.refresh()

    def _as_snapshot(self) -> list[dict[str, Any]]:
        return [
            {
                "id": story_id,
                "author": story.author,
                "publication": story.publication,
                "visibility": story.visibility,
                "age_h": (NOW - story.published_at) / timedelta(hours=1),
            }
            for story_id, story in self.stories.items()
            if not story.withdrawn
        ]

    def _as_users(self) -> dict[str, dict[str, Any]]:
        users: dict[str, dict[str, Any]] = {}
        for user, edges in self.edges.items():
            known: dict[str, Any] = {"created_at": [1], "is_member": [0]}
            for kind, target_type, target in sorted(edges):
                known.setdefault(f"{kind}_{target_type}", []).append(target)
            users[user] = known
        return users

    # What happens.

    def put(self, story_id: str, version: Version) -> None:
        """Publishes or changes a story."""
        self.stories[story_id] = version
        self.rex.stories.put(
            story_id,
            Story(
                author_id=version.author,
                publication_id=version.publication,
                published_at=version.published_at,
                visibility=version.visibility,  # type: ignore[arg-type]
            ),
            self.now,
        )

    def publish(self, story_id: str, author: str, minutes_ago: float = 0.0, publication: str | None = None) -> None:
        """Publishes a story, `minutes_ago` before now."""
        self.put(story_id, Version(author, publication, self.now - timedelta(minutes=minutes_ago)))

    def withdraw(self, story_id: str) -> None:
        """Withdraws a story that was put."""
        self.stories[story_id].withdrawn = True
        self.rex.stories.withdraw(story_id, self.now, known_document(self.rex.live.get(), story_id))

    def edge(self, user: str, event_type: str, target_type: str, target: str) -> None:
        """`follow`, `unfollow`, `mute` and so on."""
        kind = event_type.removeprefix("un")
        mine = self.edges.setdefault(user, set())
        (mine.discard if event_type.startswith("un") else mine.add)((kind, target_type, target))
        self.sent += 1
        event = {
            "event_id": f"e{self.sent}",
            "user_id": user,
            "type": event_type,
            "target_type": target_type,
            "target_id": target,
            "occurred_at": self.now.isoformat(),
        }
        receipt = self.rex.events.accept([event], self.now)
        assert receipt.accepted == 1, receipt

    def follow(self, user: str, *authors: str) -> None:
        """Follows authors."""
        for author in authors:
            self.edge(user, "follow", "author", author)

    def come_back(self, user: str) -> None:
        """What a read of someone without a timeline asks for, done."""
        self.store.ask_for_timeline(user, "returning")
        self.drain()

    def leave(self, user: str) -> None:
        """What the end of its life does to a timeline."""
        self.client.delete(self.keys.timeline_about(user))

    def pass_time(self, **by: float) -> None:
        self.now += timedelta(**by)

    def drain(self) -> None:
        """Works until nothing is left."""
        self.worker.work()

    # What comes of it.

    def context(self, user: str) -> Context:
        """A request on the surface `following`, read as for building."""
        now_us = micros(self.now)
        ctx = self.rex.feeds.context(user, now_us, "following")
        return replace(ctx, build_inputs=self.store.read_for_build(user, utc_day(now_us)))

    def rows(self, ctx: Context) -> Rows:
        """What the provider brings."""
        return TimelineStories().rows(ctx).rows

    def due(self, ctx: Context) -> str:
        """Why the provider has the timeline made anew."""
        return TimelineStories().rows(ctx).due

    def provided(self, user: str) -> list[str]:
        """Story ids that the provider brings, newest first."""
        ctx = self.context(user)
        return [ctx.story_table.story_id(int(row)) for row in self.rows(ctx)]

    def listed(self, user: str) -> list[str]:
        """Story ids in the user's list in Redis, as they stand there."""
        return [item[25:].decode() for item in self.client.lrange(self.keys.timeline(user), 0, -1)]

    def timeline(self, user: str) -> Decoded | None:
        """The timeline as it lies in Redis."""
        raw = self.client.lrange(self.keys.timeline(user), 0, -1)
        return decode_timeline(raw, self.client.hgetall(self.keys.timeline_about(user)))

    def is_pulled(self, target_type: str, target: str) -> bool:
        """Whether stories of the target are pulled now."""
        return bool(self.client.sismember(self.keys.pulled(), f"{target_type}:{hash64(target)}"))

    def followers(self, author: str) -> set[str]:
        """Who is in the follower set of an author."""
        return {user.decode() for user in self.client.smembers(self.keys.followers("author", hash64(author)))}

    def expected(self, user: str, but: Callable[[Version], bool] = lambda version: False) -> list[str]:
        """The newest stories by (published_at, story_id) over followed authors and publications, one by one."""
        mine = self.edges.get(user, set())
        due = [
            (version.published_at, story_id.encode())
            for story_id, version in self.stories.items()
            if self._belongs(version, mine) and not but(version)
        ]
        newest = sorted(due, reverse=True)[: self.online.timelines.length]
        return [story_id.decode() for _, story_id in newest]

    def _belongs(self, version: Version, mine: set[Edge]) -> bool:
        author, publication = ("author", version.author), ("publication", version.publication)
        refused = any((kind, *target) in mine for kind in ("mute", "block") for target in (author, publication))
        if refused or version.withdrawn or version.visibility == "unlisted" or version.published_at > self.now:
            return False
        return ("follow", *author) in mine or (("follow", *publication) in mine and version.visibility == "public")


def site(client: redis.Redis, var: Path, *, dedupe: bool = True, **online: Any) -> Site:
    """An empty site in an empty Redis."""
    client.flushall()
    settings = Settings(var=var, lake=var / "lake", redis_url="unused")
    return Site(client, settings, OnlineSettings(timelines=online), dedupe)
