"""The snapshot that a process serves, kept current: grown by the story stream, and swapped whole for the next one."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import redis

from features.errors import Unavailable
from features.keys import Keys
from features.snapshot_reader import current_version, read_manifest, read_tables
from online.build_world import build_world
from online.store import STORY_TAIL, read_story_tail
from online.stream import START, StreamEntry, stream_order
from online.world import World


class Loaded:
    """One loaded snapshot and its newest world. A request keeps it to its end, also when another snapshot is loaded."""

    def __init__(self, client: redis.Redis, keys: Keys, world: World) -> None:
        self._client = client
        self._keys = keys
        self._writing = threading.Lock()
        self.world = world
        """The newest; worlds that were taken before stay as they are."""

    def advance(self, entries: Sequence[StreamEntry]) -> World:
        """The newest world, once these entries of the story stream are in it, too; each is applied once."""
        if not entries:
            return self.world
        with self._writing:
            held = stream_order(self.world.position)
            self.world = self.world.after([entry for entry in entries if stream_order(entry[0].decode()) > held])
            if len(entries) == STORY_TAIL:  # there may be more, and a withdrawal may be among it
                self._read_on()
            return self.world

    def catch_up(self) -> World:
        """The newest world, once everything is in it that is in the story stream now."""
        with self._writing:
            self._read_on()
            return self.world

    def _read_on(self) -> None:
        while True:
            entries = read_story_tail(self._client, self._keys, self.world.position)
            self.world = self.world.after(entries)
            if len(entries) < STORY_TAIL:
                return


class LiveSnapshot:
    """Holds what is loaded. Requests take it once and keep it; `refresh` puts another in its place."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._loaded: Loaded | None = None
        self._loading = threading.Lock()

    @property
    def is_loaded(self) -> bool:
        """Whether there is a world to serve."""
        return self._loaded is not None

    def loaded(self) -> Loaded:
        """What is loaded now; Unavailable before the first is."""
        if self._loaded is None:
            raise Unavailable("no snapshot is loaded yet; publish one with `rex publish` and try again in a second")
        return self._loaded

    def get(self) -> World:
        """The newest world; Unavailable before the first is loaded."""
        return self.loaded().world

    def refresh(self) -> bool:
        """Loads the current snapshot if it is another than the one held; whether it was. Slow, never on a request.

        Either way the world has caught up with the story stream, so that requests have little of it left to apply.
        """
        with self._loading:
            version = current_version(self._client, self._keys)
            if self._loaded is not None and self._loaded.world.version == version:
                self._loaded.catch_up()
                return False
            manifest = read_manifest(self._client, self._keys, version)
            position = manifest.positions.get(self._keys.story_stream(), START)
            world = build_world(manifest, read_tables(self._client, self._keys, manifest), position)
            loaded = Loaded(self._client, self._keys, world)
            loaded.catch_up()
            self._loaded = loaded
            return True
