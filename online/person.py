"""What a request knows of its reader: the snapshot's profile, overridden by what the person did since."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from features.formulas import latest_different
from features.languages import language_codes, language_named, readable
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
ENOUGH_FOR_HINT = 100
"""Stories that there must be in the languages of a hint: the longest page. With fewer it would cost more than it gives."""
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

    def __init__(self, state: PersonState, world: World, hint: tuple[int, ...] = ()) -> None:
        """`hint`: codes of languages that the client says are read, see `features.languages.accepted_languages`."""
        self.state = state
        self.world = world
        self.hint = hint
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
    def languages(self) -> list[str]:
        """What the user's account says that they read; empty: unknown."""
        return [language_named(code) for code in self.state.profile["languages"].tolist()]

    @cached_property
    def follows_hint(self) -> bool:
        """Whether `hint` decides: nobody knows the user's languages, and there is enough to read in those of the hint."""
        if len(self.state.profile["languages"]) or not self.hint:
            return False
        return int(self.world.rows_by_language[:-1][self._readable(self.hint)].sum()) >= ENOUGH_FOR_HINT

    @cached_property
    def reads(self) -> Bools | None:
        """bool[languages + 1]: which languages of the world the user can read, the last entry (no language known) True; None: any.

        Where the hint decides, the languages of what the user has read count beside it.
        """
        if not self.follows_hint:
            known = self.state.profile["languages"]
            return np.append(self._readable(known), True) if len(known) else None
        out = np.append(self._readable(self.hint), True)
        out[self.world.language.take(self.recent_reads)] = True
        return out

    def _readable(self, codes: Sequence[int] | Hashes) -> Bools:
        """bool[languages]: of the world's, those that can be read by who reads the ones of `codes`."""
        return readable(language_codes(self.world.languages.ids), np.asarray(codes, np.int64))

    @property
    def invalidation(self) -> str:
        """Names what must show on the next first page: `standing`, and the hint if it decides."""
        told = self.state.standing.hex()
        return f"{told}/{self.hint}" if self.follows_hint else told

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
