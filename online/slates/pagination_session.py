"""A pagination session: which stories its pages have consumed, and how it goes on when its slate has expired.

With every slate a second, longer-lived value is written: the stories that earlier slates of the session had consumed, and the
slate's own in order. A cursor (slate, index) so tells exactly what its session has consumed, without a write per page, and
using a cursor twice does no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from features.arrays import Hashes
from features.packing import CorruptValue, Layout
from online.slates.slate import Slate, Watermark, identify

PAGINATION_SESSION = Layout("pagination_session", 1, (("before", "<i8"), ("story", "<i8")))


class CursorExpired(Exception):
    """The slate that a cursor points into is gone, and so is what its pagination session has consumed."""


@dataclass(frozen=True, slots=True)
class PaginationSession:
    """A pagination session that goes on with a new slate; the rules on it read this."""

    slate_id: str
    """Id of the new slate."""
    consumed: Hashes
    """int64[k]: stories delivered, or skipped because they were unsuitable then."""
    watermark: Watermark


@dataclass(frozen=True, slots=True)
class Kept:
    """What is still there of one slate."""

    slate_id: str
    """Empty: no slate was ever named."""
    slate: Slate | None
    pagination_session: bytes | None
    """Encoded with PAGINATION_SESSION; not read while the slate is there."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pagination session goes on: in `slate` at `index`, or, with a new slate, after `consumed`."""

    slate_id: str
    slate: Slate | None
    index: int
    consumed: Hashes | None = None


def encode_session(before: Hashes, stories: Hashes) -> bytes:
    """Packed bytes of one slate's place in its pagination session."""
    return PAGINATION_SESSION.encode({"before": before, "story": stories})


def consumed(pagination_session: bytes, index: int) -> Hashes:
    """int64[k]: what a pagination session has consumed when it stands at `index` of the slate that `pagination_session` was written with."""
    arrays = PAGINATION_SESSION.decode(pagination_session)
    return np.concatenate((arrays["before"], arrays["story"][:index]))


def continuation_id(slate_id: str, index: int) -> str:
    """Id of the slate with which a pagination session goes on from there: a retry of the cursor finds the same one."""
    return identify("continuation", slate_id, index)


def find_place(kept: Kept, index: int, read: Callable[[str], Kept]) -> Place:
    """Where a cursor goes on that points to `index` of the slate of which `kept` is there; `read` reads that of another.

    An expired slate is followed by its continuation, an expired continuation by the next. CursorExpired when nothing is
    left of the cursor's slate that this release can read.
    """
    gone_by: Hashes | None = None
    while kept.slate is None:
        if kept.pagination_session is None:
            if gone_by is None:
                raise CursorExpired("the list this cursor pointed into is gone; start again without a cursor")
            return Place(kept.slate_id, None, 0, gone_by)
        try:
            gone_by = consumed(kept.pagination_session, index)
        except CorruptValue as error:
            raise CursorExpired(
                "the list this cursor pointed into was made by another release; start again without a cursor"
            ) from error
        kept, index = read(continuation_id(kept.slate_id, index)), 0
    return Place(kept.slate_id, kept.slate, index)
