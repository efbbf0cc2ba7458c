"""The snapshot that a process serves, kept current: updated by the story stream, and swapped whole for the next one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import redis

from features.errors import Unavailable
from features.keys import Keys
from features.snapshot import Manifest
from features.snapshot_reader import current_version, read_manifest, read_model, read_tables
from features.streams import START, StreamEntry, stream_order
from online.rankers.models.model import Model
from online.rankers.models.model_file import WrongModel, decode
from online.rankers.protocol import Ranker
from online.rankers.weighted import Weighted
from online.story_table.build import build_story_table
from online.story_table.table import StoryTable
from online.story_table.updates import updated
from online.user.store import STORY_TAIL, read_story_tail

RankerOf = Callable[[Model | None, str], Ranker]
"""The ranker of a snapshot with this model (None: it has none) under this digest. ValueError: it cannot rank here."""


def first_stage_only(model: Model | None, digest: str) -> Ranker:
    """Named weights, for processes that rank nothing."""
    return Weighted()


class Loaded:
    """One loaded snapshot with its ranker and its newest story table. A request keeps it to its end, also when another is loaded."""

    def __init__(self, client: redis.Redis, keys: Keys, story_table: StoryTable, ranker: Ranker) -> None:
        self._client = client
        self._keys = keys
        self._writing = threading.Lock()
        self.story_table = story_table
        """The newest; story tables that were taken before stay as they are."""
        self.ranker = ranker
        """Published with the features that it reads."""

    def advance(self, entries: Sequence[StreamEntry]) -> StoryTable:
        """The newest story table, once these entries of the story stream are in it, too; each is applied once."""
        if not entries:
            return self.story_table
        with self._writing:
            held = stream_order(self.story_table.position)
            self.story_table = updated(
                self.story_table, [entry for entry in entries if stream_order(entry[0].decode()) > held]
            )
            if len(entries) == STORY_TAIL:  # there may be more, and a withdrawal may be among it
                self._read_on()
            return self.story_table

    def catch_up(self) -> StoryTable:
        """The newest story table, once everything is in it that is in the story stream now."""
        with self._writing:
            self._read_on()
            return self.story_table

    def _read_on(self) -> None:
        while True:
            entries = read_story_tail(self._client, self._keys, self.story_table.position)
            self.story_table = updated(self.story_table, entries)
            if len(entries) < STORY_TAIL:
                return


class LiveSnapshot:
    """Holds what is loaded. Requests take it once and keep it; `refresh` puts another in its place."""

    def __init__(self, client: redis.Redis, keys: Keys, ranker_of: RankerOf = first_stage_only) -> None:
        self._client = client
        self._keys = keys
        self._ranker_of = ranker_of
        self._loaded: Loaded | None = None
        self._loading = threading.Lock()

    @property
    def is_loaded(self) -> bool:
        """Whether there is a story table to serve."""
        return self._loaded is not None

    def loaded(self) -> Loaded:
        """What is loaded now; Unavailable before the first is."""
        if self._loaded is None:
            raise Unavailable("no snapshot is loaded yet; publish one with `rex publish` and try again in a second")
        return self._loaded

    def get(self) -> StoryTable:
        """The newest story table; Unavailable before the first is loaded."""
        return self.loaded().story_table

    def refresh(self) -> bool:
        """Loads the current snapshot if its manifest is another than that of the one held; whether it was. Slow, never on a request.

        Either way the story table has caught up with the story stream, so that requests have little of it left to apply.
        Unavailable or CorruptValue when it cannot be loaded, its model included; what is held stays.
        """
        with self._loading:
            manifest = read_manifest(self._client, self._keys, current_version(self._client, self._keys))
            if self._loaded is not None and self._loaded.story_table.manifest == manifest:
                self._loaded.catch_up()
                return False
            position = manifest.positions.get(self._keys.story_stream(), START)
            story_table = build_story_table(manifest, read_tables(self._client, self._keys, manifest), position)
            loaded = Loaded(self._client, self._keys, story_table, self._ranker(manifest))
            loaded.catch_up()
            self._loaded = loaded
            return True

    def _ranker(self, manifest: Manifest) -> Ranker:
        """Warm. Unavailable when it cannot rank what this process serves."""
        data = read_model(self._client, self._keys, manifest)
        try:
            model = None if data is None else decode(data, manifest.model)
            return self._ranker_of(model, manifest.model)
        except (WrongModel, ValueError) as error:
            raise Unavailable(f"Snapshot {manifest.version} cannot be ranked: {error}") from error
