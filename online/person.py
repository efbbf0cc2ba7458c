"""What a request knows of its reader: the snapshot's profile, overridden by what the person did since."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from features.formulas import latest_different
from features.raw_datasets import TARGET_TYPES
from features.snapshot import PROFILE
from online.columns import Bools, Candidates, Floats, Hashes, Ints, Rows
from online.lookup import one_of
from online.names import Names
from online.selection import FEW
from online.stream import stream_order
from online.world import World

ACT = np.dtype([("story", "<i8"), ("type", "u1")])
"""A member of the person's sorted set of acts; the score is the time in ms."""
ACT_CODES = {"open": 1, "read": 2, "hide": 3, "report": 4}
"""Event type → code; other types change nothing that a feed is made from."""
ACCOUNT = b"account"
"""Field beside the changed edges: the latest version of the account put online, and its stream id."""
FEW_PAIRS = 50_000
"""Up to so many comparisons, comparing each with each beats marking the rows of a whole story table: some 20 µs."""
EMPTY_PROFILE = PROFILE.decode(PROFILE.encode({}))
"""A newcomer's profile: every array empty."""


@dataclass(frozen=True, slots=True)
class EdgeChange:
    """The latest change of one edge since the snapshot."""

    kind: str
    target_type: str
    target: int
    """Hash of the target's id."""
    added: bool
    target_id: str = ""
    """The target's id."""


@dataclass(frozen=True, slots=True)
class PersonState:
    """What the store read for one person, in one round trip; not yet related to a story table."""

    user_id: str
    user_hash: int
    profile: Mapping[str, np.ndarray] = field(default_factory=lambda: EMPTY_PROFILE)
    changes: tuple[EdgeChange, ...] = ()
    acts: np.ndarray = field(default_factory=lambda: np.empty(0, ACT))
    """ACT[m], newest first."""
    digest: bytes = b""
    """Hash of the raw bytes this was read from: equal states, equal digests."""
    since: bytes = b""
    """Hash of what the person did since the snapshot (and somewhat before): `since_digest`."""
    standing: bytes = b""
    """Hash of what must show on the next first page: account and edges changed, stories hidden and reported since the snapshot."""
    languages: tuple[str, ...] = ()
    """Tags of the account changed since the snapshot; of an older one the profile has the hashes."""

    _edges: dict[tuple[str, str], Hashes] = field(default_factory=dict, compare=False, repr=False)
    """Edges in force that were asked for before."""

    def edges(self, kind: str, target_type: str) -> Hashes:
        """int64[m]: targets of the edges in force. Not to be written to."""
        wanted = (kind, target_type)
        if wanted not in self._edges:
            self._edges[wanted] = self._in_force(kind, target_type)
        return self._edges[wanted]

    def _in_force(self, kind: str, target_type: str) -> Hashes:
        base: Hashes = self.profile[f"{kind}_{target_type}"]
        mine = [change for change in self.changes if change.kind == kind and change.target_type == target_type]
        if not mine:
            return base
        added = np.array([change.target for change in mine if change.added], np.int64)
        removed = np.array([change.target for change in mine if not change.added], np.int64)
        return np.setdiff1d(np.union1d(base, added), removed)

    def stories(self, act: str) -> Hashes:
        """int64[m]: stories on which the person acted so since (and somewhat before) the snapshot, newest first."""
        return self.acts["story"][self.acts["type"] == ACT_CODES[act]]


def since_digest(edges: Mapping[bytes, bytes], acts: Sequence[bytes]) -> bytes:
    """Equal for equal edges and acts, as they lie in Redis."""
    parts = (*(part for item in sorted(edges.items()) for part in item), *acts)
    return hashlib.blake2b(b"\x1f".join(parts), digest_size=12).digest()


def decode_changes(raw: Mapping[bytes, bytes], covered: str) -> tuple[EdgeChange, ...]:
    """The edge changes that a snapshot complete up to stream position `covered` does not hold yet.

    Field: `kind|target_type|hash|target_id`; value: `occurred_us|op|stream id`. ACCOUNT stands among them and is none.
    """
    changes = []
    for name, value in raw.items():
        if name == ACCOUNT:
            continue
        kind, target_type, target, target_id = name.decode().split("|", 3)
        _, op, position = value.decode().split("|")
        if stream_order(position) > stream_order(covered):
            changes.append(EdgeChange(kind, target_type, int(target), op == "add", target_id))
    return tuple(changes)


class Person:
    """A PersonState related to a World: edges as dense lookups, stories as rows. Computed when first asked for."""

    def __init__(self, state: PersonState, world: World) -> None:
        self.state = state
        self.world = world
        self._names: dict[str, Names] = dict(
            zip(TARGET_TYPES, (world.authors, world.publications, world.topic_names), strict=True)
        )
        self._marks: dict[tuple[str, str], Floats | None] = {}

    def targets(self, kind: str, target_type: str) -> Ints:
        """int32[m]: indices of the known targets of the edges in force."""
        return self._names[target_type].by_hash.known(self.state.edges(kind, target_type))

    def marks(self, kind: str, target_type: str) -> Floats | None:
        """float32[k + 1]: 1 at the targets of the edges in force; None when there are none. Not to be written to."""
        wanted = (kind, target_type)
        if wanted not in self._marks:
            hashes = self.state.edges(kind, target_type)
            self._marks[wanted] = self._names[target_type].scatter(hashes, 1.0) if len(hashes) else None
        return self._marks[wanted]

    def affinity(self, target_type: str, kind: str = "affinity") -> Floats:
        """float32[k + 1]: the person's affinity to every author, publication or topic; 0 where unknown.

        `kind`: also one of EVIDENCE, of topics.
        """
        profile = self.state.profile
        return self._names[target_type].scatter(
            profile[f"{target_type}_affinity_ids"], profile[f"{target_type}_{kind}"]
        )

    @cached_property
    def is_member(self) -> bool:
        """Whether members-only stories may be shown; False when unknown."""
        return bool(self.state.profile["is_member"].any())

    @cached_property
    def languages(self) -> Ints:
        """int32[m]: languages the person reads, -1 where the snapshot does not know it; empty: any."""
        return self.world.languages.by_hash.find(self.state.profile["languages"])

    @cached_property
    def own(self) -> int:
        """Index of the person as an author; -1: not one."""
        return int(self.world.authors.by_hash.find(np.array([self.state.user_hash]))[0])

    @cached_property
    def recent_reads(self) -> Rows:
        """int32[m]: rows read, newest first, each once."""
        hashes = np.concatenate((self.state.stories("read"), self.state.profile["read"]))
        rows = self.world.by_hash.known(hashes)
        return rows[latest_different(rows, len(rows))]

    def acted(self, act: str, profile_field: str, candidates: Candidates) -> Bools | None:
        """bool[n]: candidates that the person has read, hidden or reported; None when none ever was."""
        hashes = np.concatenate((self.state.stories(act), self.state.profile[profile_field]))
        if not len(hashes):
            return None
        if len(candidates) * len(hashes) <= FEW_PAIRS:
            return np.any(self.world.hashes.take(candidates.rows)[:, None] == hashes, axis=1)
        if FEW * len(candidates) <= len(self.world):
            return one_of(self.world.hashes.take(candidates.rows), hashes)
        out = np.zeros(len(self.world), bool)
        out[self.world.by_hash.known(hashes)] = True
        return candidates.of(out)

    @cached_property
    def vector(self) -> Floats:
        """float32[factors] of the snapshot's ALS fit; empty: the person was not in it."""
        return np.asarray(self.state.profile["vector"])
