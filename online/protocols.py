"""What a component of the pipeline has to be. One small class each, in one file, listed in components.py.

What a ranker has to be is in online/rankers/protocol.py: it knows no request.

Enrichment fails open: a provider or annotator that raises is left out and named in `degraded`. Privacy fails closed:
a rule or validator that raises fails the request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from features.arrays import F32, I32, Bools, Micros
from features.times import FOREVER_US
from online.columns import Bits, Candidates, Rows
from online.context import Context, Source
from online.user.user import User


@dataclass(frozen=True, slots=True)
class Found:
    """What a provider brings, and what it noticed on the way."""

    rows: Rows | slice
    due: str = ""
    """Why the user's timeline is to be rebuilt once a slate is built; empty: it is not."""


class Provider(Source, Protocol):
    """Brings candidates for one reason. Derive from it, and say what differs: `name`, `reason` and `rows` always do."""

    group: str = "discovery"
    takes_slots: bool = False

    def reason_for(self, user: User, row: int) -> str:
        """See Source."""
        return self.reason

    def holds(self, ctx: Context, entries: Candidates) -> Bools | None:
        """bool[n]: whether an entry of a slate that it brought is still there for its reason; None: all are. Looks at no clock."""
        return None

    def rows(self, ctx: Context) -> Rows | slice | Found:
        """int32[m] rows of the story table, or a slice of it; rows may repeat."""
        ...


class Rule(Protocol):
    """Says which candidates must not be shown. Its name is the reason of the drop."""

    name: str

    def drops(self, ctx: Context, candidates: Candidates) -> Bools | None:
        """bool[n], true where the rule forbids the story; None: it forbids nothing to this user."""
        ...

    def until(self, ctx: Context, candidates: Candidates) -> int:
        """µs: until then it says the same of each of them, unless the user, the story table or the settings of the stage change.

        `now_us` when it depends on anything else, so that it is asked again on every read (AskedAgain).
        """
        ...


class Annotator(Protocol):
    """Adds feature columns; never reorders or drops."""

    name: str
    features: tuple[str, ...]
    """Names from the registry that it provides."""

    def columns(self, ctx: Context, candidates: Candidates) -> Mapping[str, F32]:
        """float32[n] for each of `features` that is in `ctx.wanted`; others may be there too.

        Training asks the same of stories that were shown at different moments: `ctx.age_hours(candidates)` is right for both, and
        there is no `ctx.now_us` then, no interaction but those of ANNOTATED (online/user/user.py), and nothing of the request.
        """
        ...


class Selector(Protocol):
    """Keeps candidates that the ranking would leave out. Selectors add to what the ranking keeps, one after the other."""

    name: str

    def also(self, ctx: Context, scored: Candidates, kept: I32) -> I32:
        """int32[m]: positions in `scored` (with a `score` column) to keep behind those in `kept`; it may mark them in a column."""
        ...


class Postprocessor(Protocol):
    """Reorders or drops ranked candidates."""

    name: str

    def apply(self, ctx: Context, ranked: Candidates) -> Candidates:
        """The candidates in their new order, with all their columns, as `Candidates.take` gives them; what is missing was dropped."""
        ...


class Validator(Protocol):
    """Checks the entries of a slate on every read."""

    name: str
    """The reason of its drops."""

    def sources(self, ctx: Context, entries: Candidates) -> Bits | None:
        """uint32[n]: the sources that still hold; 0 drops the entry. None: all still hold."""
        ...

    def until(self, ctx: Context, entries: Candidates) -> int:
        """As a rule's."""
        ...


class Timeless:
    """The `until` of a rule or a validator that looks at the user, the story table and the settings only, and not at `now_us`."""

    def until(self, ctx: Context, candidates: Candidates) -> int:
        """No moment changes what it says."""
        return FOREVER_US


class AskedAgain:
    """The `until` of a rule or a validator that looks at something else, such as a list of its own."""

    def until(self, ctx: Context, candidates: Candidates) -> int:
        """What it says may be different at any moment."""
        return ctx.now_us


def next_of(moments: Micros, ctx: Context) -> int:
    """The first of some moments, int64[any shape] in µs, that is after `now_us`; FOREVER_US: none is."""
    return int(moments.min(where=moments > ctx.now_us, initial=FOREVER_US))
