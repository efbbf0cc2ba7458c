"""Caps are those of taking stories one by one."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from online.postprocessors.blocks import Caps, Demands, Limits, RankedCandidates, fill

PAIRS = st.lists(st.tuples(st.integers(-1, 5), st.integers(-1, 3)), max_size=40)
MANY = 1000
NOBODY = np.empty(0, np.int32)


def taken_one_by_one(pairs: list[tuple[int, int]], author_cap: int, publication_cap: int) -> list[bool]:
    authors: Counter[int] = Counter()
    publications: Counter[int] = Counter()
    taken = []
    for author, publication in pairs:
        fits = (author < 0 or authors[author] < author_cap) and (
            publication < 0 or publications[publication] < publication_cap
        )
        if fits:
            authors[author] += 1
            publications[publication] += 1
        taken.append(fits)
    return taken


@settings(deadline=None)  # the first one may have to compile
@given(PAIRS, st.integers(1, 3), st.integers(1, 3))
@example([(4, 1), (3, 1), (2, 1), (1, 0), (0, 1), (0, 0)], 1, 2)  # a story kept out does not count for its author
def test_stories_are_admitted_as_if_taken_one_by_one(
    pairs: list[tuple[int, int]], by_author: int, by_publication: int
) -> None:
    author, publication = np.array(pairs, np.int32).reshape(-1, 2).T
    caps = Caps(by_author, MANY, MANY), Caps(by_publication, MANY, MANY)
    limits = Limits(author, publication, caps, (NOBODY, NOBODY))
    taken = taken_one_by_one(pairs, by_author, by_publication)
    ranked = RankedCandidates(limits, np.zeros(len(pairs), np.int16), np.zeros(len(pairs), bool), NOBODY, NOBODY)
    one_block = Demands(sum(taken), max(sum(taken), 1), (0.0,), 0.0)
    order = fill(ranked, one_block).order.tolist()
    assert order == [*np.flatnonzero(taken), *np.flatnonzero(np.logical_not(taken))]
