"""What a request knows of its user: the snapshot's profile, overridden by what the user did since."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from features.arrays import F32, I32, Bools, Hashes
from features.choices import BLOCKED_BY, ENDED, HELD
from features.formulas import latest_different
from features.interactions import ONLINE_CODES
from features.languages import language_codes, language_named, readable
from features.raw_datasets import TARGET_TYPES
from features.snapshot import PROFILE
from features.streams import stream_order
from features.times import FOREVER_US
from online.columns import Candidates, Rows
from online.story_table.lookup import one_of
from online.story_table.names import Names
from online.story_table.table import StoryTable

INTERACTION = np.dtype([("story", "<i8"), ("type", "u1")])
"""A member of the user's sorted set of interactions; the score is the time in ms."""
INTERACTIONS_KEPT = 2000
"""Opens and reads kept online per user unless a setting says otherwise; the snapshot has more."""
ANNOTATED = ("read",)
"""Of the interactions since the snapshot, those that features depend on. Training looks at users anew only after one of these."""
ACCOUNT = b"account"
"""Field beside the changed edges: the latest version of the account put online, and its stream id."""
FEW_PAIRS = 50_000
"""Up to so many comparisons, comparing each with each (some 20 µs) beats marking the keys first."""
ENOUGH_FOR_HINT = 100
"""Stories, open to everyone, that there must be in the languages of a hint: the longest page. With fewer it would cost more
than it gives."""
MARKS = 1 << 16
"""Bits of a key that sort out most candidates before they are compared; a table of so many bools stays in the cache."""
EMPTY_PROFILE = PROFILE.decode(PROFILE.encode({}))
"""A newcomer's profile: every array empty."""


@dataclass(frozen=True, slots=True)
class EdgeChange:
    """The state of one edge that was changed since the snapshot."""

    kind: str
    target_type: str
    target: int
    """Hash of the target's id."""
    added: bool
    occurred_us: int = FOREVER_US
    """When the last change that applied occurred."""
    settled: bool = False
    """Whether a refusal, which applies on arrival, arrived since the snapshot: then what that holds is overruled."""
    target_id: str = ""
    """The target's id."""


@dataclass(frozen=True, slots=True)
class UserState:
    """What the store read for one user, in one round trip; not yet related to a story table."""

    user_id: str
    user_hash: int
    profile: Mapping[str, np.ndarray] = field(default_factory=lambda: EMPTY_PROFILE)
    changes: tuple[EdgeChange, ...] = ()
    interactions: np.ndarray = field(default_factory=lambda: np.empty(0, INTERACTION))
    """INTERACTION[m], newest first."""
    digest: bytes = b""
    """Hash of what changed since the snapshot (and somewhat before): with it, and the snapshot, all of this is given."""
    invalidation_digest: bytes = b""
    """Hash of what must show on the next first page: account and edges changed, stories hidden and reported since the snapshot."""

    _edges: dict[tuple[str, str], Hashes] = field(default_factory=dict, compare=False, repr=False)
    """Edges in force that were asked for before."""
    _changed: dict[tuple[str, str], list[EdgeChange]] = field(default_factory=dict, compare=False, repr=False)
    """`changes` by kind and type of the target, once an edge was asked for."""

    def edges(self, kind: str, target_type: str) -> Hashes:
        """int64[m]: targets of the edges in force. Not to be written to."""
        wanted = (kind, target_type)
        if wanted not in self._edges:
            self._edges[wanted] = self._in_force(kind, target_type)
        return self._edges[wanted]

    def _in_force(self, kind: str, target_type: str) -> Hashes:
        held: Hashes = self.profile[HELD[kind, target_type]]
        if not self._changed:
            sorted_out: dict[tuple[str, str], list[EdgeChange]] = {}
            for change in self.changes:
                sorted_out.setdefault((change.kind, change.target_type), []).append(change)
            self._changed.update(sorted_out)
        mine = self._changed.get((kind, target_type))
        if mine is None:
            return held
        target = np.array([change.target for change in mine], np.int64)
        occurred = np.array([change.occurred_us for change in mine], np.int64)
        settled, added = (np.array([getattr(c, name) for c in mine], bool) for name in ("settled", "added"))
        applies = settled | (self._changed_at(kind, target_type, target) <= occurred)
        return np.setdiff1d(np.union1d(held, target[applies & added]), target[applies & ~added])

    def _changed_at(self, kind: str, target_type: str, targets: Hashes) -> Hashes:
        """int64[m]: µs when the edge of each target was last changed as the snapshot knows; the first moment if never."""
        names = [names[kind, target_type] for names in (HELD, ENDED) if (kind, target_type) in names]
        known = np.concatenate([self.profile[name] for name in names])
        at = np.concatenate([self.profile[f"{name}_at"] for name in names])
        out = np.full(len(targets), np.iinfo(np.int64).min)
        if len(known):
            order = np.argsort(known)
            place = order[np.minimum(np.searchsorted(known, targets, sorter=order), len(known) - 1)]
            out = np.where(known[place] == targets, at[place], out)
        return out

    def stories(self, interaction: str) -> Hashes:
        """int64[m]: stories on which the user acted so since (and somewhat before) the snapshot, newest first."""
        return self.interactions["story"][self.interactions["type"] == ONLINE_CODES[interaction]]


def decode_changes(raw: Mapping[bytes, bytes], user_id: str, covered: Callable[[str], str]) -> tuple[EdgeChange, ...]:
    """The changed edges whose last change a snapshot does not hold yet.

    `covered`: user → position in the stream of their events up to which it is complete. Field: `kind|target_type|hash|id`;
    value: see online/ingest/events.py. An edge of BLOCKED_BY was changed by its target. Fields without `|`, such as ACCOUNT, are none.
    """
    changes, own = [], stream_order(covered(user_id))
    for name, value in raw.items():
        if b"|" not in name:
            continue
        kind, target_type, target, ident = name.decode().split("|", 3)
        occurred_us, op, _, arrival, position = value.decode().split("|")
        held = stream_order(covered(ident)) if kind == BLOCKED_BY else own
        if stream_order(position) > held:
            settled = stream_order(arrival) > held
            changes.append(EdgeChange(kind, target_type, int(target), op == "add", int(occurred_us), settled, ident))
    return tuple(changes)


class User:
    """A UserState related to a StoryTable: edges as dense lookups, stories as rows. Computed when first asked for."""

    def __init__(self, state: UserState, story_table: StoryTable, hint: tuple[int, ...] = ()) -> None:
        """`hint`: codes of languages that the client says are read, see `features.languages.accepted_languages`."""
        self.state = state
        self.story_table = story_table
        self.hint = hint
        self._names: dict[str, Names] = dict(
            zip(TARGET_TYPES, (story_table.authors, story_table.publications, story_table.topic_names), strict=True)
        )
        self._marks: dict[tuple[str, str], F32 | None] = {}

    def targets(self, kind: str, target_type: str) -> I32:
        """int32[m]: indices of the known targets of the edges in force."""
        return self._names[target_type].by_hash.known(self.state.edges(kind, target_type))

    def marks(self, kind: str, target_type: str) -> F32 | None:
        """float32[k + 1]: 1 at the targets of the edges in force; None when there are none. Not to be written to."""
        wanted = (kind, target_type)
        if wanted not in self._marks:
            hashes = self.state.edges(kind, target_type)
            self._marks[wanted] = self._names[target_type].scatter(hashes, 1.0) if len(hashes) else None
        return self._marks[wanted]

    def touched(self, candidates: Candidates, kind: str, *target_types: str) -> Bools | None:
        """bool[n]: the target of an edge in force is the author, the publication or one of the topics; None: there is no such edge.

        `target_types`: which of these count; all, unless some are named.
        """
        table, found = self.story_table, None
        columns = {"author": table.author, "publication": table.publication, "topic": table.topics}
        for target_type in target_types or TARGET_TYPES:
            marks = self.marks(kind, target_type)
            if marks is None:
                continue
            targets = candidates.of(columns[target_type])
            for place in targets.T if targets.ndim == 2 else (targets,):
                hit = marks.take(place) > 0
                found = hit if found is None else found | hit
        return found

    def follows(self, candidates: Candidates, *target_types: str) -> Bools:
        """bool[n]: a follow is in force of the candidate's target of one of these types."""
        found = self.touched(candidates, "follow", *target_types)
        return np.zeros(len(candidates), bool) if found is None else found

    def affinity(self, target_type: str, kind: str = "affinity") -> F32:
        """float32[k + 1]: the user's affinity to every author, publication or topic; 0 where unknown.

        `kind`: also one of SUPPORT, of topics.
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
        return int(self.story_table.rows_by_language[:-1][self._readable(self.hint)].sum()) >= ENOUGH_FOR_HINT

    @cached_property
    def reads(self) -> Bools | None:
        """bool[languages + 1]: which languages of the story table the user can read, the last entry (no language known) True; None: any.

        Where the hint decides, the languages of what the user has read count beside it.
        """
        if not self.follows_hint:
            known = self.state.profile["languages"]
            return np.append(self._readable(known), True) if len(known) else None
        out = np.append(self._readable(self.hint), True)
        out[self.story_table.language.take(self.recent_reads)] = True
        return out

    def _readable(self, codes: Sequence[int] | Hashes) -> Bools:
        """bool[languages]: which languages of the story table a user who reads those of `codes` can read."""
        return readable(language_codes(self.story_table.languages.ids), np.asarray(codes, np.int64))

    @property
    def deciding_hint(self) -> tuple[int, ...]:
        """`hint` if it decides, else nothing."""
        return self.hint if self.follows_hint else ()

    @cached_property
    def own(self) -> int:
        """Index of the user as an author; -1: not one."""
        return int(self.story_table.authors.by_hash.find(np.array([self.state.user_hash]))[0])

    @cached_property
    def recent_reads(self) -> Rows:
        """int32[m]: rows read, newest first, each once."""
        hashes = np.concatenate((self.state.stories("read"), self.state.profile["read"]))
        rows = self.story_table.by_hash.known(hashes)
        return rows[latest_different(rows, len(rows))]

    def read_before(self, candidates: Candidates) -> Bools | None:
        """bool[n]: candidates that the user has read, or a near-duplicate of; None when nothing was ever read."""
        return self._copies(np.concatenate((self.state.stories("read"), self.state.profile["read"])), candidates)

    def refused(self, kind: str, candidates: Candidates) -> Bools | None:
        """bool[n]: candidates that the user has hidden or reported, or a near-duplicate of; None: there is no such story."""
        return self._copies(self.state.edges(kind, "story"), candidates)

    def _copies(self, hashes: Hashes, candidates: Candidates) -> Bools | None:
        """bool[n]: candidates that share a duplicate key that one of these stories has or had, as each shares its own."""
        if not len(hashes):
            return None
        now = self.story_table.duplicate_key[self.story_table.by_hash.known(hashes)]
        keys = np.concatenate((now, self.story_table.former_keys.of(hashes)))
        if not len(keys):
            return None
        theirs = candidates.of(self.story_table.duplicate_key)
        if len(candidates) * len(keys) <= FEW_PAIRS:
            return np.any(theirs[:, None] == keys, axis=1)
        marks = np.zeros(MARKS, bool)
        marks[keys & (MARKS - 1)] = True
        out = marks.take(theirs & (MARKS - 1))
        likely = np.flatnonzero(out)
        out[likely] = one_of(theirs[likely], keys)
        return out

    @cached_property
    def vector(self) -> F32:
        """float32[factors] of the snapshot's ALS fit; empty: the user was not in it."""
        return np.asarray(self.state.profile["vector"])
