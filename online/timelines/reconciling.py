"""Bringing one user's timeline in line with whom the user follows now, and with the stories there are now."""

from __future__ import annotations

import logging
from typing import cast

import redis

from features.keys import Keys
from features.lua import script
from features.times import micros
from online.clock import Clock
from online.columns import Rows
from online.feed.snapshot_loader import LiveSnapshot
from online.service_settings import OnlineSettings
from online.story_table.table import StoryTable
from online.timelines.followers import OUTLIVES_S, FollowerIndex
from online.timelines.newest import newest, rows_of
from online.timelines.pulled import PulledTargets
from online.timelines.targets import Follows, Pulled, follows_of
from online.timelines.timeline import VIA, encode_body, encode_floor
from online.user.store import UserStore

log = logging.getLogger("rex.online")


class Reconciler:
    """Makes and repairs timelines. Repeating it changes nothing; killed anywhere, the next time makes up for it."""

    def __init__(
        self, client: redis.Redis, keys: Keys, settings: OnlineSettings, live: LiveSnapshot, clock: Clock
    ) -> None:
        self._client = client
        self._keys = keys
        self._settings = settings
        self._live = live
        self._clock = clock
        self._store = UserStore(client, keys)
        self._replace = client.register_script(script(__package__, "order", "replace"))
        self.index = FollowerIndex(client, keys, ttl_s=settings.timelines.ttl_s, sets_ttl_s=settings.ingest.state_ttl_s)
        self.pulled = PulledTargets(client, keys)

    def is_active(self, user_id: str) -> bool:
        """Whether the user has a timeline."""
        return bool(self._client.exists(self._keys.timeline_about(user_id)))

    def reconcile(self, user_id: str, pulled: Pulled | None = None) -> None:
        """`pulled`: what counts as pulled, by default what is. Unavailable when there is no snapshot to read follows from.

        The follower sets come first and the stories after: what is published in between is pushed.
        """
        loaded = self._live.loaded()
        follows = follows_of(self._store.read_state(loaded.story_table.manifest, user_id))
        sizes = self.index.register(user_id, follows)
        for target, size in sizes.items():
            if size > self._settings.timelines.push_threshold:
                self.pulled.add(target)
        seen = cast("bytes | None", self._client.hget(self._keys.timeline_about(user_id), "seq")) or b"0"
        pulled = pulled or self.pulled.now()
        self._write(user_id, loaded.catch_up(), follows, pulled, seen)

    def _write(self, user_id: str, story_table: StoryTable, follows: Follows, pulled: Pulled, seen: bytes) -> None:
        most = self._settings.timelines.length
        pushed = pulled.pushed(follows)
        rows = newest(story_table, rows_of(story_table, pushed, micros(self._clock())), most + 1)
        left_out = rows[most:]
        floor = encode_floor(*_place(story_table, int(left_out[0]))) if len(left_out) else b""
        keys = [self._keys.timeline(user_id), self._keys.timeline_about(user_id)]
        args: list[bytes | str | int] = [
            seen,
            story_table.version,
            self._settings.timelines.ttl_s,
            OUTLIVES_S,
            most,
            floor,
        ]
        args += [follows.digest(), *_bodies(story_table, pushed, rows[:most])]
        try:
            self._replace(keys=keys, args=args)
        except redis.ResponseError as error:
            log.warning("the timeline of %s is damaged and will be rebuilt: %s", user_id, error)
            self._client.delete(*keys)  # it holds nothing that cannot be made again
            self._replace(keys=keys, args=args)


def _place(story_table: StoryTable, row: int) -> tuple[int, str]:
    return int(story_table.published_at[row]), story_table.story_id(row)


def _bodies(story_table: StoryTable, follows: Follows, rows: Rows) -> list[bytes]:
    """One for each row, with the follows that brought it."""
    authors = set(story_table.authors.by_hash.known(follows.authors).tolist())
    publications = set(story_table.publications.by_hash.known(follows.publications).tolist())
    bodies = []
    for row in rows.tolist():
        via = VIA["author"] * (int(story_table.author[row]) in authors)
        via |= VIA["publication"] * (int(story_table.publication[row]) in publications)
        published_us, story_id = _place(story_table, row)
        bodies.append(encode_body(published_us, int(story_table.hashes[row]), via, story_id))
    return bodies
