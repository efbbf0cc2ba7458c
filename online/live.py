"""The snapshot that a process serves, kept current: loaded beside the old one and swapped whole."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import redis

from features.errors import Unavailable
from features.keys import Keys
from features.snapshot_reader import current_version, read_manifest, read_tables
from online.overlay import StoryOverlay
from online.store import STORY_TAIL, read_story_tail
from online.stream import START, StreamEntry, stream_order
from online.world import World, build_world


@dataclass(frozen=True, slots=True)
class Live:
    """What one request pins: a story table and the overlay over it. Immutable."""

    world: World
    overlay: StoryOverlay


class LiveSnapshot:
    """Holds the current Live. Requests take it once and keep it; `refresh` puts another in its place."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._live: Live | None = None
        self._advancing = threading.Lock()
        self._loading = threading.Lock()

    def get(self) -> Live:
        """The current one; Unavailable before the first is loaded."""
        if self._live is None:
            raise Unavailable("no snapshot is loaded yet; publish one with `rex publish` and try again in a second")
        return self._live

    def refresh(self) -> bool:
        """Loads the current snapshot if it is another than the one held; whether it was. Slow, never on a request."""
        with self._loading:
            version = current_version(self._client, self._keys)
            if self._live is not None and self._live.world.version == version:
                return False
            manifest = read_manifest(self._client, self._keys, version)
            world = build_world(manifest, read_tables(self._client, self._keys, manifest))
            overlay = StoryOverlay(manifest.positions.get(self._keys.story_stream(), START))
            live = self._caught_up(Live(world, overlay))
            with self._advancing:
                self._live = live
            return True

    def advance(self, pinned: Live, changes: Sequence[StreamEntry]) -> Live:
        """`pinned` with later story changes applied; kept for later requests too, unless they are further already."""
        if not changes:
            return pinned
        moved = Live(pinned.world, pinned.overlay.after(pinned.world, changes))
        if len(changes) == STORY_TAIL:  # there may be more, and a withdrawal may be among it
            moved = self._caught_up(moved)
        with self._advancing:
            held = self._live
            if held is not None and held.world is pinned.world and _before(held.overlay, moved.overlay):
                self._live = moved
        return moved

    def _caught_up(self, live: Live) -> Live:
        """`live` with everything applied that is in the story stream now."""
        while True:
            changes = read_story_tail(self._client, self._keys, live.overlay.position)
            live = Live(live.world, live.overlay.after(live.world, changes))
            if len(changes) < STORY_TAIL:
                return live


def _before(one: StoryOverlay, other: StoryOverlay) -> bool:
    return stream_order(one.position) < stream_order(other.position)
