"""Blocks: filled as if candidates were taken one by one, with shares, guaranteed minimum and caps kept wherever they can be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from online.postprocessors.blocks import REASONS, Caps, Demands, Filled, Limits, RankedCandidates, fill
from tests.online.plain_blocks import Entry, PlainFiller

WIDE = Caps(1000, 1000, 1000)
GROUPS = 3


def filled(
    entries: Sequence[Entry],
    demands: Demands,
    caps: tuple[Caps, Caps] = (WIDE, WIDE),
    today: tuple[Sequence[int], Sequence[int]] = ((), ()),
) -> Filled:
    slots = {entry.slot: i for i, entry in enumerate(entries) if entry.slot >= 0}
    limits = Limits(
        np.array([e.author for e in entries], np.int32),
        np.array([e.publication for e in entries], np.int32),
        caps,
        (np.array(today[0], np.int32), np.array(today[1], np.int32)),
    )
    ranked = RankedCandidates(
        limits,
        np.array([e.group for e in entries], np.int16),
        np.array([e.is_new for e in entries], bool),
        np.array([slots[slot] for slot in sorted(slots)], np.int32),
        np.array(sorted(slots), np.int32),
    )
    return fill(ranked, demands)


def blocks(order: Sequence[int], demands: Demands) -> list[list[int]]:
    """The part of the list that is filled in blocks."""
    placed = list(order)[: demands.size]
    return [placed[start : start + demands.block] for start in range(0, len(placed), demands.block)]


CAPS = st.builds(Caps, st.integers(1, 3), st.integers(1, 6), st.integers(1, 8))
ENTRIES = st.lists(
    st.builds(Entry, st.integers(-1, 5), st.integers(-1, 3), st.integers(0, GROUPS - 1), st.booleans()),
    max_size=60,
)
DEMANDS = st.builds(
    Demands,
    st.integers(1, 50),
    st.integers(1, 9),
    st.sampled_from([(0.0, 0.0, 0.0), (0.3, 0.2, 0.1), (0.5, 0.25, 0.25), (0.0, 1.0, 0.0)]),
    st.sampled_from([0.0, 0.05, 0.3, 1.0]),
)


@settings(max_examples=400, deadline=None)
@given(
    ENTRIES,
    DEMANDS,
    CAPS,
    CAPS,
    st.lists(st.integers(-1, 5), max_size=12),
    st.lists(st.integers(-1, 3), max_size=12),
    st.sets(st.integers(0, 12), max_size=3),
)
def test_a_list_is_that_of_taking_candidates_one_by_one(
    entries: list[Entry],
    demands: Demands,
    of_author: Caps,
    of_publication: Caps,
    authors: list[int],
    publications: list[int],
    slots: set[int],
) -> None:
    promoted = [Entry(i, -1, 0, slot=slot) for i, slot in enumerate(sorted(slots))]
    entries = [*promoted, *entries]
    caps, today = (of_author, of_publication), (authors, publications)
    order = filled(entries, demands, caps, today).order.tolist()
    assert sorted(order) == list(range(len(entries)))  # nothing is lost, nothing twice
    plain = PlainFiller(entries, caps, (Counter(authors), Counter(publications)), demands).fill()
    organic = [sorted(i for i in block if entries[i].slot < 0) for block in blocks(order, demands)]
    assert organic == plain
    behind = [i for i in order[demands.size :] if entries[i].slot < 0]
    assert behind == sorted(behind)


def of_groups(*groups: int, **more: int) -> list[Entry]:
    """Candidates of different authors and publications, in rank order."""
    return [Entry(i, i, group, **more) for i, group in enumerate(groups)]


class TestShares:
    demands = Demands(40, 20, (0.5, 0.2, 0.1), 0.0)

    def test_every_group_gets_its_share_of_every_block_where_there_is_enough(self) -> None:
        entries = of_groups(*[0] * 60, *[1] * 8, *[2] * 4)
        for block in blocks(filled(entries, self.demands).order.tolist(), self.demands):
            assert Counter(entries[i].group for i in block) == {0: 14, 1: 4, 2: 2}

    def test_a_group_that_has_too_little_leaves_its_room_to_the_best_of_the_others(self) -> None:
        entries = of_groups(*[0] * 40, 1)
        first, second = blocks(filled(entries, self.demands).order.tolist(), self.demands)
        assert sorted(first) == [*range(19), 40]
        assert second == list(range(19, 39))

    def test_within_a_group_rank_order_stays_and_the_best_of_all_stays_on_top(self) -> None:
        entries = of_groups(*[0, 1, 2] * 20)
        order = filled(entries, self.demands).order.tolist()
        for group in range(GROUPS):
            ranks = [i for i in order if entries[i].group == group]
            assert ranks == sorted(ranks)
        assert order[0] == 0

    def test_guaranteed_entries_are_spread_over_the_block(self) -> None:
        entries = of_groups(*[0] * 18, *[1] * 4)
        block = filled(entries, Demands(20, 20, (0.0, 0.2, 0.0), 0.0)).order.tolist()[:20]
        assert [place for place, i in enumerate(block) if entries[i].group == 1] == [4, 9, 14, 19]  # every fifth


class TestFloor:
    def test_new_authors_get_their_share_of_every_block_where_there_are_any(self) -> None:
        entries = [Entry(i, -1, 0, is_new=i >= 97) for i in range(100)]
        found = blocks(filled(entries, Demands(80, 20, (0.0,), 0.05)).order.tolist(), Demands(80, 20, (0.0,), 0.05))
        assert [sum(entries[i].is_new for i in block) for block in found] == [1, 1, 1, 0]

    def test_the_guaranteed_minimum_breaks_no_cap(self) -> None:
        entries = [Entry(0, -1, 0, is_new=True) for _ in range(5)] + [Entry(i, -1, 0) for i in range(1, 30)]
        block = filled(entries, Demands(10, 10, (0.0,), 0.5), (Caps(2, 100, 100), WIDE)).order[:10].tolist()
        assert sum(entries[i].is_new for i in block) == 2


class TestCaps:
    demands = Demands(20, 5, (0.0,), 0.0)

    def counts(self, entries: list[Entry], order: Sequence[int]) -> list[int]:
        """How many of author 0 stand in each block."""
        return [sum(entries[i].author == 0 for i in block) for block in blocks(order, self.demands)]

    def test_an_author_is_capped_over_the_blocks_of_a_slate(self) -> None:
        entries = [Entry(0, -1, 0)] * 10 + [Entry(i, -1, 0) for i in range(1, 30)]
        order = filled(entries, self.demands, (Caps(2, 3, 100), WIDE)).order.tolist()
        assert self.counts(entries, order) == [2, 1, 0, 0]

    def test_what_other_slates_showed_today_counts(self) -> None:
        entries = [Entry(0, -1, 0)] * 10 + [Entry(i, -1, 0) for i in range(1, 30)]
        order = filled(entries, self.demands, (Caps(2, 100, 4), WIDE), ([0, 0, 0, 7], ())).order.tolist()
        assert self.counts(entries, order) == [1, 0, 0, 0]

    def test_a_promoted_entry_counts_for_its_author(self) -> None:
        entries = [Entry(0, -1, 0, slot=3)] + [Entry(0, -1, 0)] * 10 + [Entry(i, -1, 0) for i in range(1, 30)]
        order = filled(entries, self.demands, (Caps(2, 100, 100), WIDE)).order.tolist()
        assert order[3] == 0
        assert self.counts(entries, order) == [2, 2, 2, 2]


class TestRelaxation:
    """Four candidates for a block of two: one constraint gives way at a time, today's caps first, the author's last."""

    demands = Demands(2, 2, (0.0,), 0.0)

    def test_shares_give_way_before_any_cap(self) -> None:
        entries = [Entry(0, -1, 0), Entry(0, -1, 1), Entry(1, -1, 0)]
        order = filled(entries, Demands(2, 2, (0.5, 0.5), 0.0), (Caps(1, 9, 9), WIDE)).order.tolist()
        assert order[:2] == [0, 2]  # the second group has only the capped author

    def test_todays_caps_give_way_before_the_slates(self) -> None:
        entries = [Entry(0, -1, 0), Entry(1, -1, 0), Entry(1, -1, 0), Entry(2, -1, 0)]
        order = filled(entries, Demands(3, 3, (0.0,), 0.0), (Caps(9, 1, 1), WIDE), ([2], ())).order.tolist()
        assert sorted(order[:3]) == [
            0,
            1,
            3,
        ]  # the slate's cap holds: author 2, capped today, comes before author 1 again

    def test_the_slates_caps_give_way_before_the_publications(self) -> None:
        entries = [Entry(0, 0, 0), Entry(1, 0, 0), Entry(0, -1, 0)]
        order = filled(entries, self.demands, (Caps(2, 1, 9), Caps(1, 9, 9))).order.tolist()
        assert order[:2] == [0, 2]

    def test_the_publications_cap_gives_way_before_the_authors(self) -> None:
        entries = [Entry(0, 0, 0), Entry(0, -1, 0), Entry(1, 0, 0)]
        order = filled(entries, self.demands, (Caps(1, 9, 9), Caps(1, 9, 9))).order.tolist()
        assert order[:2] == [0, 2]

    def test_the_authors_cap_gives_way_at_last(self) -> None:
        assert filled([Entry(0, 0, 0)] * 3, self.demands, (Caps(1, 1, 1), Caps(1, 1, 1))).order.tolist() == [0, 1, 2]


class TestReasons:
    def reasons(self, *given: object) -> list[str]:
        return [REASONS[code] for code in filled(*given).reason.tolist()]  # type: ignore[arg-type]

    def test_a_share_lifts_and_what_it_displaced_gave_way(self) -> None:
        found = self.reasons(of_groups(0, 0, 0, 0, 1), Demands(4, 4, (0.0, 0.25), 0.0))
        assert found == ["", "", "", "gave_way", "share"]

    def test_a_cap_holds_back_and_the_next_one_moves_up_into_the_room(self) -> None:
        entries = [Entry(0, -1, 0), Entry(0, -1, 0), Entry(1, -1, 0), Entry(2, -1, 0)]
        found = self.reasons(entries, Demands(4, 2, (0.0,), 0.0), (Caps(1, 9, 9), WIDE))
        assert found == ["", "author_cap", "filled_up", ""]

    def test_the_guaranteed_minimum_lifts_a_new_author(self) -> None:
        entries = [*of_groups(0, 0, 0), Entry(9, 9, 0, is_new=True)]
        assert self.reasons(entries, Demands(2, 2, (0.0,), 0.5)) == ["", "gave_way", "", "guaranteed"]

    def test_a_ranking_that_meets_all_demands_stays_as_it_is(self) -> None:
        assert set(self.reasons(of_groups(*[0, 1] * 30), Demands(60, 20, (0.3, 0.3), 0.0))) == {""}
