"""Fan-out on write: one story into the timelines of the followers of its author and its publication."""

from __future__ import annotations

import numpy as np
import redis

from features.keys import Keys
from features.lua import script
from features.streams import START, stream_order
from online.feed.snapshot_loader import LiveSnapshot
from online.service_settings import OnlineSettings
from online.story_table.dates import dated
from online.story_table.story_change import StoryChange
from online.timelines.followers import OUTLIVES_S
from online.timelines.placements import Placement, Placements, Record, placement_of
from online.timelines.reconciling import Reconciler
from online.timelines.targets import Target, refusal
from online.timelines.timeline import VIA, encode_body

TOGETHER = 50
"""Users whose timelines one call of the script inserts into: half a millisecond, during which Redis serves nobody else."""
LEAVES_AT = 0.9
"""A pulled target is pushed again at this share of the threshold, so that one follower more or less does not flap it."""


class Distributor:
    """Repeating it changes nothing. Killed anywhere, the next time makes up for it: what was done is noted last."""

    def __init__(
        self,
        client: redis.Redis,
        keys: Keys,
        settings: OnlineSettings,
        live: LiveSnapshot,
        reconciler: Reconciler,
        *,
        dedupe: bool = True,
    ) -> None:
        """`dedupe` False forgets what was done already: for the test that shows what remembering is good for."""
        self._client = client
        self._keys = keys
        self._settings = settings
        self._live = live
        self._reconciler = reconciler
        self._index = reconciler.index
        self._dedupe = dedupe
        self._placements = Placements(client, keys, settings.ingest.state_ttl_s)
        self._push = client.register_script(script(__package__, "order", "push"))
        self._remove = client.register_script(script(__package__, "remove"))

    def distribute(self, change: StoryChange, entry_id: str, now_us: int) -> None:
        """Takes the story away from where it does not belong any more, and brings it where it does."""
        (before,) = self._placements.get([change.story_hash])
        if self._dedupe and before is not None and stream_order(entry_id) <= stream_order(before.entry_id):
            return
        placement = placement_of(change.version)
        for other in self._known_places(change.story_hash, before):
            if other is not None and other != placement:
                self._take_out(change.story_hash, other)
        placed = placement is not None and placement.published_us <= now_us
        if placement is not None and placed:
            self._bring(change.story_id, change.story_hash, placement)
        self._placements.put(change.story_hash, Record(placement, entry_id, placed))

    def release(self, now_us: int) -> None:
        """Brings the stories that were dated ahead and whose time has come since this was last called."""
        since = int(self._client.get(self._keys.released()) or now_us)  # type: ignore[arg-type]  # typed for asyncio, too
        story_table = self._live.loaded().catch_up()
        known, behind = dated(story_table, since + 1, now_us)
        rows = np.concatenate((np.arange(known.start, known.stop, dtype=np.int32), behind))
        rows = rows[~np.isin(rows, story_table.superseded)]
        records = self._placements.get(story_table.hashes[rows].tolist())
        for row, record in zip(rows.tolist(), records, strict=True):
            withdrawn = story_table.withdrawn is not None and story_table.withdrawn[row]
            placement = None if withdrawn else placement_of(story_table.story(row))
            if placement is None or not _waits(placement, record, from_snapshot=row < story_table.snapshot_rows):
                continue
            self._bring(story_table.story_id(row), int(story_table.hashes[row]), placement)
            self._placements.put(
                int(story_table.hashes[row]), Record(placement, record.entry_id if record else START, True)
            )
        self._client.set(self._keys.released(), now_us)

    def tidy_up(self) -> None:
        """Forgets what will not be needed again."""
        self._placements.tidy_up()

    def _known_places(self, story_hash: int, before: Record | None) -> set[Placement | None]:
        """Where the story may be: as it was last fanned out; else as any of its rows says."""
        if before is not None:
            return {before.placement}
        story_table = self._live.get()
        return {placement_of(story_table.story(int(row))) for row in np.flatnonzero(story_table.hashes == story_hash)}

    def _take_out(self, story_hash: int, placement: Placement) -> None:
        story = story_hash.to_bytes(8, "little", signed=True)
        for target in filter(self._is_pushed, placement.targets()):
            for users in self._index.members(target):
                pipe = self._client.pipeline(transaction=False)
                for user in users:
                    keys = [self._keys.timeline(user), self._keys.timeline_about(user)]
                    self._remove(keys=keys, args=[story, self._settings.timelines.length], client=pipe)
                for user, short in zip(users, pipe.execute(), strict=True):
                    if short:
                        self._reconciler.reconcile(user)

    def _bring(self, story_id: str, story_hash: int, placement: Placement) -> None:
        author, publication = (
            "" if one is None else refusal(kind, one)
            for kind, one in (("author", placement.author), ("publication", placement.publication))
        )
        for target in filter(self._is_pushed, placement.targets()):
            body = encode_body(placement.published_us, story_hash, VIA[target.type], story_id)
            args: list[bytes | str | int] = [
                body,
                self._settings.timelines.length,
                OUTLIVES_S,
                target.name,
                author,
                publication,
                int(self._dedupe),
            ]
            for users in self._index.members(target):
                self._index.drop(target, self._push_to(users, args))

    def _push_to(self, users: list[str], args: list[bytes | str | int]) -> list[str]:
        """Those of `users` who are not there to be pushed to."""
        partitions: dict[int, list[str]] = {}
        for user in users:
            partitions.setdefault(self._keys.partition(user), []).append(user)
        pipe, pushed = self._client.pipeline(transaction=False), []
        for of_one in partitions.values():
            for start in range(0, len(of_one), TOGETHER):
                some = of_one[start : start + TOGETHER]
                self._push(
                    keys=[key for user in some for key in self._keys.timeline_keys(user)], args=args, client=pipe
                )
                pushed += some
        answers = [outcome for some in pipe.execute() for outcome in some]
        return [user for user, outcome in zip(pushed, answers, strict=True) if outcome < 0]

    def _is_pushed(self, target: Target) -> bool:
        """Decides between push and pull by the number of followers, and carries out a change from one to the other."""
        size, threshold = self._index.size(target), self._settings.timelines.push_threshold
        pulled = self._reconciler.pulled.now()
        if target not in pulled:
            if size > threshold:
                self._reconciler.pulled.add(target)
            return size <= threshold
        if size > LEAVES_AT * threshold:
            self._index.sweep(target)
            return False
        for users in self._index.members(target):
            for user in users:
                self._reconciler.reconcile(user, pulled.without(target))
        self._reconciler.pulled.remove(target)
        return True


def _waits(placement: Placement, record: Record | None, *, from_snapshot: bool) -> bool:
    """Whether nobody has brought the story yet; one that came by the stream and has no record comes that way still."""
    if record is None:
        return from_snapshot
    return record.placement == placement and not record.placed
