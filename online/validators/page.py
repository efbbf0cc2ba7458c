"""The seventh stage: which entries of a slate are still suitable, looked up no further than the page needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.arrays import I32
from features.times import FOREVER_US
from online.columns import Bits, Candidates
from online.context import Context
from online.protocols import Validator
from online.selection import checked
from online.slates.slate import Slate, identify

SPARE = 12
"""Entries looked at beyond what the page needs: on most reads few have dropped, and looking at more costs little."""
_NOT_IN_SNAPSHOT = "not_in_snapshot"


@dataclass(frozen=True, slots=True)
class Page:
    """The part of a slate that one request answers with."""

    entries: Candidates
    """With columns `score`, `index` (index in the slate) and, where something is promoted, `promotion`."""
    next_index: int | None
    """Where in the slate the next page starts; None: the slate is used up."""
    looked_at: int
    """Entries from the page's start to its end; what was dropped among them, by reason, is in `dropped`."""
    dropped: dict[str, int]


def suitable(ctx: Context, validators: Sequence[Validator], slate: Slate, start: int, limit: int) -> Page:
    """The first `limit` suitable entries from `start` on. The next page starts at the next suitable one."""
    info = slate.info
    if info.built_at_us <= ctx.now_us < info.suitable_until_us and info.suitable_for == _judged_by(ctx, validators):
        entries = _entries(ctx, slate, slice(start, start + limit))
        entries = entries.take(np.arange(len(entries)))  # copies, as below: a page must not hold on to its slate
        more = start + limit < len(slate)
        return Page(entries, start + limit if more else None, len(entries), {})
    reach = limit + 1 + SPARE
    while True:
        window = slice(start, start + reach)
        entries = _entries(ctx, slate, window)
        sources, reason = _judged(ctx, validators, entries)
        left = np.flatnonzero(sources)
        if len(left) > limit or window.stop >= len(slate):
            break
        reach *= 4
    end = int(left[limit]) if len(left) > limit else len(entries)
    page = Candidates(entries.rows, sources, entries.columns).take(left[:limit])
    counts = np.bincount(reason[:end], minlength=len(validators) + 2)[1:]
    names = (_NOT_IN_SNAPSHOT, *(validator.name for validator in validators))
    dropped = {name: int(n) for name, n in zip(names, counts, strict=True) if n}
    return Page(page, start + end if len(left) > limit else None, end, dropped)


def all_suitable(ctx: Context, validators: Sequence[Validator], slate: Slate) -> tuple[str, int]:
    """For `SlateInfo.suitable_for` and `suitable_until_us` of a new slate."""
    entries = _entries(ctx, slate, slice(0, len(slate)))
    sources, _ = _judged(ctx, validators, entries)
    if not np.array_equal(sources, slate.sources):
        return "", 0
    return _judged_by(ctx, validators), until_us(ctx, validators, entries)


def until_us(ctx: Context, validators: Sequence[Validator], entries: Candidates) -> int:
    """Until then, exclusive, the verdict on these entries is the same, unless something changes that `_judged_by` names."""
    return min((validator.until(ctx, entries) for validator in validators), default=FOREVER_US)


def _judged_by(ctx: Context, validators: Sequence[Validator]) -> str:
    """Names all that a verdict depends on besides the moment: who and what is judged, by which validators with what settings."""
    return identify(ctx.pinned, ctx.settings.preprocess, *[validator.name for validator in validators])


def _entries(ctx: Context, slate: Slate, window: slice) -> Candidates:
    stories = slate.stories[window]
    columns = {
        "score": slate.scores[window],
        "index": np.arange(window.start, window.start + len(stories), dtype=np.int32),
    }
    if len(slate.promotions):
        columns["promotion"] = slate.promotions[window]
    return Candidates(ctx.story_table.by_hash.find(stories), slate.sources[window], columns)


def _judged(ctx: Context, validators: Sequence[Validator], entries: Candidates) -> tuple[Bits, I32]:
    """uint32[n]: the sources that still hold, 0 where the entry drops. int32[n]: why it drops (0: it does not), 1 for a
    story that is not there any more, else 2 + the number of the validator."""
    at = np.flatnonzero(entries.rows >= 0)
    there = entries if len(at) == len(entries) else entries.take(at)
    why = np.zeros(len(there), np.int32)
    for number, validator in enumerate(validators, start=2):
        held = validator.sources(ctx, there)
        if held is not None:
            checked(validator.name, held, np.uint32, len(there))
            why[(held == 0) & (there.sources != 0)] = number
            there = Candidates(there.rows, there.sources & held, there.columns)
    if there.rows is entries.rows:
        return there.sources, why
    sources, reason = np.zeros(len(entries), np.uint32), np.ones(len(entries), np.int32)
    sources[at], reason[at] = there.sources, why
    return sources, reason
