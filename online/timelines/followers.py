"""Who is to be pushed to: the follower sets, and each user's own list of the targets in whose sets the user is.

The user's list decides: what a follower set holds beyond it is never pushed to and is removed when it is met. So a user
is put into a set before the list says so, and taken off the list before the set. Killed in between, nobody misses a story.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

import redis

from features.keys import Keys
from online.timelines.targets import Follows, Target

SCANNED = 1000
"""Followers read at once."""
SAMPLED = 20
"""Followers of a pulled target looked at per story, so that its set, to which nobody is pushed, loses those who left."""
OUTLIVES_S = 3600
"""A user's list lives longer than the hash by which the user counts as active, so that it is never missing."""


class FollowerIndex:
    """Only active users are in it: those who have a timeline."""

    def __init__(self, client: redis.Redis, keys: Keys, *, ttl_s: int, sets_ttl_s: int) -> None:
        """`ttl_s`: of a user's timeline; `sets_ttl_s`: of a follower set after one of its users was last in line."""
        self._client = client
        self._keys = keys
        self._ttl_s = ttl_s
        self._sets_ttl_s = sets_ttl_s

    def register(self, user_id: str, follows: Follows) -> dict[Target, int]:
        """Makes the index agree with `follows`; returns the sizes of the sets into which the user came."""
        mine = self._keys.registered(user_id)
        held = self._held(user_id)
        targets = follows.targets()
        wanted = {target.name for target in targets} | follows.refusals()
        new = [target for target in targets if target.name not in held]
        sizes = self._join(user_id, targets, new)
        pipe = self._client.pipeline(transaction=True)
        for command, names in ((pipe.srem, held - wanted), (pipe.sadd, wanted - held)):
            if names:
                command(mine, *sorted(names))
        pipe.expire(mine, self._ttl_s + OUTLIVES_S)
        pipe.execute()
        self._leave(user_id, [_target(name) for name in held - wanted if not name.startswith("!")])
        return sizes

    def size(self, target: Target) -> int:
        """Followers in the set of a target."""
        return self._client.scard(self._keys.followers(*target))  # type: ignore[return-value]  # typed for asyncio, too

    def members(self, target: Target) -> Iterator[list[str]]:
        """All followers, some at a time; one may come twice."""
        cursor = 0
        while True:
            cursor, found = self._client.sscan(self._keys.followers(*target), cursor, count=SCANNED)  # type: ignore[misc]  # typed for asyncio, too
            if found:
                yield [user.decode() for user in cast("list[bytes]", found)]
            if not cursor:
                return

    def drop(self, target: Target, users: Iterable[str]) -> None:
        """Takes users who are not there any more out of a set."""
        gone = sorted(users)
        if gone:
            self._client.srem(self._keys.followers(*target), *gone)

    def sweep(self, target: Target) -> None:
        """Drops those of a few followers, picked by Redis, who are not there any more."""
        key = self._keys.followers(*target)
        users = [user.decode() for user in cast("list[bytes]", self._client.srandmember(key, SAMPLED))]
        pipe = self._client.pipeline(transaction=False)
        for user in users:
            pipe.exists(self._keys.timeline_about(user))
        self.drop(target, [user for user, there in zip(users, pipe.execute(), strict=True) if not there])

    def _held(self, user_id: str) -> set[str]:
        """The user's list; nothing for someone who was away, for the sets may have dropped the user meanwhile."""
        pipe = self._client.pipeline(transaction=False)
        pipe.exists(self._keys.timeline_about(user_id))
        pipe.smembers(self._keys.registered(user_id))
        active, held = pipe.execute()
        if active:
            return {name.decode() for name in held}
        self._client.delete(self._keys.registered(user_id))
        return set()

    def _join(self, user_id: str, targets: list[Target], new: list[Target]) -> dict[Target, int]:
        pipe = self._client.pipeline(transaction=False)
        for target in new:
            pipe.sadd(self._keys.followers(*target), user_id)
        for target in targets:
            pipe.expire(self._keys.followers(*target), self._sets_ttl_s)
        for target in new:
            pipe.scard(self._keys.followers(*target))
        sizes = pipe.execute()[len(new) + len(targets) :]
        return dict(zip(new, sizes, strict=True))

    def _leave(self, user_id: str, targets: list[Target]) -> None:
        pipe = self._client.pipeline(transaction=False)
        for target in targets:
            pipe.srem(self._keys.followers(*target), user_id)
        pipe.execute()


def _target(name: str) -> Target:
    kind, _, target = name.partition(":")
    return Target(kind, int(target))
