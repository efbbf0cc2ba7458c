"""Every Redis key. Nothing else in the project spells one.

Hash tags stand only where several keys change together: all of one user's keys share the tag of the user's
partition, so that an event (dedupe, stream entry, state) is one atomic script also on Redis Cluster.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xxhash

HASH_SEED = 42
"""Seed of Spark's `xxhash64`, so that batch and online agree on every hash."""
PARTITIONS = 16
"""Users (and their event streams) are spread over this many hash slots; fixed for the life of a deployment."""


def hash64(ident: str) -> int:
    """Signed 64-bit hash of an id; equals Spark's `xxhash64(id)`."""
    unsigned = xxhash.xxh64_intdigest(ident.encode(), HASH_SEED)
    return unsigned - (1 << 64) if unsigned >= 1 << 63 else unsigned


def hash64_many(idents: list[str]) -> np.ndarray:
    """`int64[len(idents)]` of `hash64`; for the few ids of one request, never for a story table."""
    return np.fromiter(map(hash64, idents), dtype=np.int64, count=len(idents))


@dataclass(frozen=True, slots=True)
class Keys:
    """Builds keys under one prefix."""

    prefix: str = "rex:"

    # Snapshots: the tag keeps pointer, list and lease in one slot, because one script changes them.
    def current(self) -> str:
        """String: version of the current snapshot."""
        return f"{self.prefix}{{snap}}:current"

    def versions(self) -> str:
        """Sorted set: published versions by publishing sequence number."""
        return f"{self.prefix}{{snap}}:versions"

    def staged(self) -> str:
        """Set: versions being written; what a dead publisher left behind."""
        return f"{self.prefix}{{snap}}:staged"

    def sequence(self) -> str:
        """Integer: the last publishing sequence number, the fence of the lease."""
        return f"{self.prefix}{{snap}}:sequence"

    def trimmed(self) -> str:
        """Hash, stream -> position up to which its entries are gone from Redis: at most one field a stream."""
        return f"{self.prefix}{{snap}}:trimmed"

    def publish_lease(self) -> str:
        """String with TTL: who publishes now."""
        return f"{self.prefix}{{snap}}:lease"

    def manifest(self, version: str) -> str:
        """String, JSON: what a snapshot consists of."""
        return f"{self.prefix}snap:{version}:manifest"

    def blob(self, digest: str) -> str:
        """String: a piece of a snapshot table, named by its content and so shared between versions."""
        return f"{self.prefix}blob:{digest}"

    def users(self, digest: str) -> str:
        """Hash, user hash (8 bytes LE) → profile: one bucket of users, named by its content."""
        return f"{self.prefix}users:{digest}"

    # One user.
    def partition(self, user_id: str) -> int:
        """The user's partition, 0 … PARTITIONS - 1."""
        return hash64(user_id) % PARTITIONS

    def _user(self, what: str, user_id: str) -> str:
        return f"{self.prefix}{{p{self.partition(user_id)}}}:{what}:{user_id}"

    def event_stream(self, partition: int) -> str:
        """Stream: accepted events of one partition, until archived and covered by every kept snapshot."""
        return f"{self.prefix}{{p{partition}}}:events"

    def event_seen(self, user_id: str, event_id: str) -> str:
        """String with TTL: this event was accepted."""
        # Both ids are free text: the length tells where the first ends, so that no two pairs share a key.
        return f"{self._user(f'seen:{len(user_id)}', user_id)}:{event_id}"

    def edges(self, user_id: str) -> str:
        """Hash: follows changed since the snapshot, the state of each; and the account, if it was changed."""
        return self._user("follows", user_id)

    def refusals(self, user_id: str) -> str:
        """Hash: mutes, blocks, hides and reports changed since the snapshot, the state of each."""
        return self._user("refusals", user_id)

    def blocked_by(self, user_id: str) -> str:
        """Hash: who has changed a block of this user since the snapshot, the state of each."""
        return self._user("blocked_by", user_id)

    def edge_hashes(self, user_id: str) -> tuple[str, str, str]:
        """The three hashes above: together, every edge that was changed since the snapshot."""
        return self.edges(user_id), self.refusals(user_id), self.blocked_by(user_id)

    def interactions(self, user_id: str) -> str:
        """Sorted set: stories opened and read, by time; capped."""
        return self._user("interactions", user_id)

    def latest_slates(self, user_id: str) -> str:
        """Hash with TTL, surface → id of its newest slate."""
        return self._user("latest", user_id)

    def slate(self, user_id: str, slate_id: str) -> str:
        """String with TTL: one immutable slate."""
        return f"{self._user('slate', user_id)}:{slate_id}"

    def pagination_session(self, user_id: str, slate_id: str) -> str:
        """String with TTL: the story hashes of a slate and of the slates before it in its pagination session; outlives the slate."""
        return f"{self._user('pagination_session', user_id)}:{slate_id}"

    def building(self, user_id: str, surface: str) -> str:
        """String with TTL: a slate of this surface is being built, so that others wait for it."""
        return f"{self._user(f'building:{surface}', user_id)}"

    def served_stream(self, partition: int) -> str:
        """Stream: entries answered to the users of one partition, until archived."""
        return f"{self.prefix}{{p{partition}}}:served"

    def served_history(self, user_id: str) -> str:
        """Sorted set with TTL, page served -> when; capped."""
        return self._user("history", user_id)

    def promoted(self, user_id: str, day: str) -> str:
        """Hash with TTL, promotion hash -> slate entries placed on a UTC day (`YYYYMMDD`)."""
        return f"{self._user('promoted', user_id)}:{day}"

    def timeline(self, user_id: str) -> str:
        """List with TTL, newest first: stories pushed to the user; capped."""
        return self._user("timeline", user_id)

    def timeline_about(self, user_id: str) -> str:
        """Hash with TTL: the timeline's sequence number and what it was built from; absent: an inactive user."""
        return self._user("timeline-about", user_id)

    def timeline_keys(self, user_id: str) -> list[str]:
        """Timeline, about and registered of one user, for the script that pushes to many."""
        tag = f"{self.prefix}{{p{self.partition(user_id)}}}"
        return [f"{tag}:{what}:{user_id}" for what in ("timeline", "timeline-about", "registered")]

    def timeline_patterns(self) -> list[str]:
        """For SCAN: every timeline, about and registered, in the order in which they may be removed."""
        return [f"{self.prefix}{{p*}}:{what}:*" for what in ("timeline-about", "timeline", "registered")]

    def is_delivery(self, key: str) -> bool:
        """Whether a key found by one of the patterns is what it was meant to find: the end of an id may look like it."""
        first, _, rest = key.removeprefix(self.prefix).partition(":")
        return first == "followers" or rest.startswith(("timeline-about:", "timeline:", "registered:"))

    def registered(self, user_id: str) -> str:
        """Set with TTL: targets whose stories are pushed to the user, and, marked with `!`, those kept out."""
        return self._user("registered", user_id)

    # Delivery.
    def followers(self, target_type: str, target_hash: int) -> str:
        """Set with TTL: ids of the active users who follow an author or a publication."""
        return f"{self.prefix}followers:{target_type}:{target_hash}"

    def follower_sets(self) -> str:
        """For SCAN: every follower set."""
        return f"{self.prefix}followers:*"

    def pulled(self) -> str:
        """Set: targets with so many active followers that their stories are not pushed; `version` counts its changes."""
        return f"{self.prefix}{{delivery}}:pulled"

    def pulled_version(self) -> str:
        """Integer: grows whenever the set of pulled targets changes."""
        return f"{self.prefix}{{delivery}}:pulled-version"

    def returns(self) -> str:
        """Stream, capped: users whose timelines are to be built or rebuilt."""
        return f"{self.prefix}{{delivery}}:returns"

    def fanout_lease(self) -> str:
        """String with TTL: who fans out now."""
        return f"{self.prefix}{{delivery}}:lease"

    def released(self) -> str:
        """Integer: moment in µs up to which stories that were dated ahead have been fanned out."""
        return f"{self.prefix}{{delivery}}:released"

    def placed(self) -> str:
        """Hash with TTL, story hash -> under which author, publication and time it was fanned out, and by which entry."""
        return f"{self.prefix}{{delivery}}:placed"

    def dead_letters(self) -> str:
        """Stream, capped: entries that could not be processed after several tries, with the reason."""
        return f"{self.prefix}dead_letters"

    # Stories.
    def story_stream(self) -> str:
        """Stream: stories published, changed and withdrawn since the oldest kept snapshot."""
        return f"{self.prefix}{{stories}}:stream"

    def story_documents(self) -> str:
        """Hash with TTL, story hash → latest document put online; also refuses two ids with one hash."""
        return f"{self.prefix}{{stories}}:documents"

    def archive_lease(self) -> str:
        """String with TTL: who archives now."""
        return f"{self.prefix}archive:lease"
