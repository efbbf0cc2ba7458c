"""One request: who asks, what is pinned for it, and what the stages report."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from features.arrays import F32, Micros
from features.errors import Unavailable
from features.formulas import age_hours, dot
from online.columns import Candidates
from online.rankers.protocol import Ranker
from online.settings import RankingSettings
from online.slates.pagination_session import PaginationSession
from online.story_table.table import StoryTable
from online.user.build_inputs import BuildInputs
from online.user.user import User

log = logging.getLogger("rex.online")

Contributions = Callable[[Mapping[str, F32], int], Mapping[str, F32]]
"""What each feature adds to the scores of n candidates; a ranker's `contributions`."""
Explainer = Callable[[Mapping[str, F32], F32, int], Mapping[str, Any] | None]
"""Of all candidates' columns and scores, why the one at a position has its score; None: `contributions` say it all."""


@dataclass(slots=True)
class StageReport:
    """What one stage did, as `explain` shows it."""

    stage: str
    taken: int
    """Candidates in."""
    given: int = 0
    """Candidates out."""
    ms: float = 0.0
    dropped: dict[str, int] = field(default_factory=dict)
    """Reason → how many; adds up to taken - given wherever the stage drops."""
    parts: dict[str, Any] = field(default_factory=dict)
    """Component → what it brought, or its milliseconds."""


@dataclass(slots=True)
class Trace:
    """The funnel of one request, and the path of one story through it when one is watched."""

    timer: Callable[[], float] = lambda: 0.0
    """Seconds from some moment on; stages are timed with it. Unless one is given, they take no time."""
    stages: list[StageReport] = field(default_factory=list)
    strict: bool = False
    """Whether a part that fails fails the request: what is measured, evaluated or written for many users must be whole."""
    degraded: list[str] = field(default_factory=list)
    due: dict[str, str] = field(default_factory=dict)
    """Provider → why what it reads must be rebuilt."""
    displacements: dict[str, int] = field(default_factory=dict)
    """Reason → entries that the postprocessors moved for it."""
    watched_row: int | None = None
    watched: dict[str, Any] = field(default_factory=lambda: {"positions": {}})
    explainer: Explainer | None = None
    """Asked for the watched story."""

    @contextmanager
    def stage(self, name: str, taken: int) -> Iterator[StageReport]:
        """Times a stage; the caller fills in what went out."""
        report = StageReport(name, taken)
        started = self.timer()
        yield report
        report.ms = (self.timer() - started) * 1000
        self.stages.append(report)

    def degrade(self, part: str, error: Exception) -> None:
        """Note that an enrichment failed and the feed goes on without it. Unavailable when the request is strict."""
        if self.strict:
            raise Unavailable(f"{part} failed, and a strict request takes no answer without it: {error}") from error
        if isinstance(error, Unavailable):  # its sentence says it all, and an outage comes with every feed
            log.warning("%s failed; the feed goes on without it: %s", part, error)
        else:
            log.warning("%s failed; the feed goes on without it", part, exc_info=error)
        self.degraded.append(part)

    def watch(self, step: str, candidates: Candidates) -> None:
        """Note where the watched story stands after a step; None: it is not among the candidates."""
        if self.watched_row is not None:
            at = self._at(candidates)
            self.watched["positions"][step] = at
            if step == "aggregate" and at is not None:
                self.watched["sources"] = int(candidates.sources[at])

    def watch_drop(self, candidates: Candidates, reason: np.ndarray, names: list[str]) -> None:
        """Note which rule drops the watched story: uint8[n], 0 for none, else 1 + the rule's index."""
        at = self._at(candidates)
        if at is not None and reason[at]:
            self.watched["dropped_by"] = names[int(reason[at]) - 1]

    def watch_rank(self, candidates: Candidates, score: F32, contributions: Contributions) -> None:
        """Note the watched story's features and what each adds to its score."""
        at = self._at(candidates)
        if at is None:
            return
        one = {name: column[at : at + 1] for name, column in candidates.columns.items()}
        self.watched["features"] = {name: float(value[0]) for name, value in one.items()}
        self.watched["contributions"] = {name: float(v[0]) for name, v in contributions(one, 1).items()}
        self.watched["score"] = float(score[at])
        self.watched["rank"] = int(np.count_nonzero(score > score[at]))
        if self.explainer is not None and (explanation := self.explainer(candidates.columns, score, at)) is not None:
            self.watched["ranking"] = explanation

    def displaced(
        self, step: str, before: Candidates, after: Candidates, reason: np.ndarray, names: Sequence[str]
    ) -> None:
        """Count what a step moved, by reason (uint8[n], in the order before: index into `names`, 0 for not moved).

        For the watched story, note the reason and the places.
        """
        counts = np.bincount(reason, minlength=len(names))[1:].tolist()
        self.displacements.update({name: n for name, n in zip(names[1:], counts, strict=True) if n})
        at = self._at(before)
        if at is not None and reason[at]:
            move = {"step": step, "reason": names[int(reason[at])], "from": at, "to": self._at(after)}
            self.watched.setdefault("moves", []).append(move)

    def _at(self, candidates: Candidates) -> int | None:
        if self.watched_row is None:
            return None
        found = np.flatnonzero(candidates.rows == self.watched_row)
        return int(found[0]) if len(found) else None


GROUPS = ("followed", "topics", "history", "discovery")
"""Groups of sources that share a list: whom the user chose, what the user chose, what their reading says, and what they would not
have found. How much of a block each gets at least is a setting, `share_<group>`."""


class Source(Protocol):
    """What a bit of the candidates' `sources` stands for: of a provider, what all stages may know."""

    name: str
    """The same in code, `sources`, metrics, explain and docs."""
    reason: str
    """What the user is told, as the docs list it; braces are blanks that `reason_for` fills."""
    group: str
    """One of GROUPS."""
    takes_slots: bool
    """Whether its stories stand at places of their own in a list; then its reason is given, whatever else brought them."""

    def reason_for(self, user: User, row: int) -> str:
        """What the user is told of a story that it brought: of a row of the story table."""
        ...


@dataclass(frozen=True)
class Context:
    """Pinned from start to end of a request: story table, ranker, user, now. Building a slate adds its inputs in a context of its own."""

    story_table: StoryTable
    user: User
    now_us: int
    settings: RankingSettings
    ranker: Ranker
    """The one of the world's snapshot, so that features and model are always of one publication."""
    surface: str = "home"
    wanted: frozenset[str] = frozenset()
    """Features that the ranker reads; an annotator may leave out the others."""
    build_inputs: BuildInputs = field(default_factory=BuildInputs)
    """Read before a slate is built; empty while a cached one is served."""
    sources: Sequence[Source] = ()
    """By bit of the candidates' `sources`; of equal reasons the first is the one that counts."""
    pagination_session: PaginationSession | None = None
    """The pagination session that the new slate continues; None: a session begins with it."""
    shown_us: Micros | None = None
    """int64[n]: when each candidate was shown, where that is what the context is about; None: they are looked at now."""
    trace: Trace = field(default_factory=Trace)
    """All of a request that is written to: what the stages report."""

    @property
    def user_id(self) -> str:
        return self.user.state.user_id

    @cached_property
    def pinned(self) -> str:
        """Names everything the answer depends on besides `now`: snapshot, position in the story stream, the user's state."""
        return f"{self.story_table.version}/{self.story_table.position}/{self._user}/{self.settings.variant}"

    @property
    def _user(self) -> str:
        digest = self.user.state.digest.hex()
        return f"{digest}/{self.user.hint}" if self.user.follows_hint else digest

    @cached_property
    def bits(self) -> dict[str, int]:
        """Source name → bit."""
        return {source.name: bit for bit, source in enumerate(self.sources)}

    def age_hours(self, candidates: Candidates) -> F32:
        """float32[n]: how old each candidate is, or was when it was shown; see `features.formulas.age_hours`."""
        now_us = self.now_us if self.shown_us is None else self.shown_us
        return age_hours(candidates.of(self.story_table.published_at), now_us)

    @cached_property
    def als_score(self) -> F32:
        """float32[N]: product of the user's and each story's ALS vector, shared by provider and annotator."""
        return dot(self.story_table.vectors, self.user.vector)

    def als_score_of(self, candidates: Candidates) -> F32:
        """float32[n]: `als_score` of the candidates, to the bit; of them alone when nobody has asked for all."""
        if candidates.whole or "als_score" in self.__dict__:
            return candidates.of(self.als_score)
        # One factor after the other: a `take` over both axes would first copy the whole table, whose rows have spares.
        gathered = [factor.take(candidates.rows) for factor in self.story_table.vectors]
        return dot(np.array(gathered, np.float32).reshape(len(gathered), len(candidates)), self.user.vector)
