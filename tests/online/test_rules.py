"""Each rule drops what it names and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from features.interactions import ONLINE_CODES
from features.keys import hash64
from online.components import default_components
from online.rules.language import Language
from online.story_table.table import StoryTable
from online.story_table.updates import updated
from online.user.user import INTERACTION, EdgeChange
from tests.online.small_world import context, everything, ids, story_table

STORIES: list[dict[str, Any]] = [
    {"id": "s-plain", "author": "a-plain", "language": "en"},
    {"id": "s-other-author", "author": "a-other", "language": "en"},
    {"id": "s-in-publication", "publication": "p-one", "language": "en"},
    {"id": "s-on-topic", "topics": ["t-two", "t-one"], "language": "en"},
    {"id": "s-followers-only", "author": "a-other", "visibility": "followers", "language": "en"},
    {"id": "s-unlisted", "visibility": "unlisted", "language": "en"},
    {"id": "s-members-only", "members_only": True, "language": "en"},
    {"id": "s-portuguese", "language": "pt"},
    {"id": "s-unknown-language"},
    {"id": "s-old", "age_h": 24 * 366, "language": "en"},
    {"id": "s-tomorrow", "age_h": -24, "language": "en"},
]
WORLD = story_table(STORIES)


def dropped_by(rule_name: str, of: StoryTable = WORLD, **known: Any) -> set[str]:
    rule = next(rule for rule in default_components().rules if rule.name == rule_name)
    drops = rule.drops(context(of, **known), everything(of))
    return set() if drops is None else set(ids(of, everything(of).take(drops)))


def interactions(**by_type: str) -> np.ndarray:
    return np.array([(hash64(story), ONLINE_CODES[interaction]) for interaction, story in by_type.items()], INTERACTION)


def change(kind: str, target_type: str, target: str, *, added: bool) -> EdgeChange:
    return EdgeChange(kind, target_type, hash64(target), added)


MINE = {"s-followers-only", "s-unlisted"}


@pytest.mark.parametrize(
    ("rule", "known", "expected"),
    [
        ("already_read", {}, set()),
        ("already_read", {"read": ["s-plain"], "read_at": [1]}, {"s-plain"}),
        ("already_read", {"interactions": interactions(read="s-old")}, {"s-old"}),
        (
            "hidden",
            {"hidden": ["s-plain"], "changes": [change("hide", "story", "s-old", added=True)]},
            {"s-plain", "s-old"},
        ),
        ("hidden", {"hidden": ["s-plain"], "changes": [change("hide", "story", "s-plain", added=False)]}, set()),
        (
            "reported",
            {"reported": ["s-plain"], "changes": [change("report", "story", "s-old", added=True)]},
            {"s-plain", "s-old"},
        ),
        ("blocked", {"blocked_by": ["a-other"]}, {"s-other-author", "s-followers-only"}),
        ("muted", {"mute_author": ["a-other"]}, {"s-other-author", "s-followers-only"}),
        ("muted", {"mute_publication": ["p-one"]}, {"s-in-publication"}),
        ("muted", {"mute_topic": ["t-one"]}, {"s-on-topic"}),  # also where it is not the first topic
        ("muted", {"changes": [change("mute", "author", "a-plain", added=True)]}, {"s-plain"}),
        ("muted", {"mute_author": ["a-plain"], "changes": [change("mute", "author", "a-plain", added=False)]}, set()),
        ("blocked", {"block_author": ["a-other"]}, {"s-other-author", "s-followers-only"}),
        (
            "blocked",
            {"block_author": ["a-plain"], "blocked_by": ["a-other"]},
            {"s-plain", "s-other-author", "s-followers-only"},
        ),
        ("blocked", {"mute_author": ["a-other"]}, set()),
        ("own", {"user_id": "a-plain"}, {"s-plain"}),
        ("own", {"user_id": "u-no-author"}, set()),
        ("visibility", {}, {"s-followers-only", "s-unlisted"}),
        ("visibility", {"follow_author": ["a-other"]}, {"s-unlisted"}),
        ("visibility", {"follow_author": ["a-plain"]}, {"s-followers-only", "s-unlisted"}),
        ("members_only", {}, {"s-members-only"}),
        ("members_only", {"is_member": [1]}, set()),
        ("language", {}, set()),
        ("language", {"languages": ["en"]}, {"s-portuguese"}),
        ("language", {"languages": ["pt"]}, {s["id"] for s in STORIES} - {"s-portuguese", "s-unknown-language"}),
        ("language", {"languages": ["pt-Latn"]}, {s["id"] for s in STORIES} - {"s-portuguese", "s-unknown-language"}),
        ("language", {"languages": ["xx"]}, {s["id"] for s in STORIES} - {"s-unknown-language"}),  # no story in it
        ("too_old", {}, {"s-old", "s-tomorrow"}),
        ("withdrawn", {}, set()),
    ],
)
def test_a_rule_drops_what_it_names_and_nothing_else(rule: str, known: dict[str, Any], expected: set[str]) -> None:
    assert dropped_by(rule, **known) == expected


def test_of_many_refused_stories_only_the_copies_go() -> None:
    """More pairs than are compared one by one; half of the keys differ from a refused one only above the lowest 16 bits."""
    n, refused = 600, 100
    stories = [{"id": f"s{i}", "author": "a", "duplicate_key": i % 300 + (i >= 300) * (1 << 20)} for i in range(n)]
    stories += [{"id": f"copy{i}", "author": "a", "duplicate_key": i} for i in range(refused)]
    hidden = [f"s{i}" for i in range(refused)]
    assert dropped_by("hidden", story_table(stories), hidden=hidden) == {*hidden, *(f"copy{i}" for i in range(refused))}


def entry(position: str, story: str, more: str = "") -> tuple[bytes, dict[bytes, bytes]]:
    author = "a-plain" if story == "s-plain" else "a-someone"
    document = f'{{"story_id":"{story}","author_id":"{author}","published_at":"2026-01-01T00:00:00Z"{more}}}'
    return position.encode(), {b"story": document.encode()}


def test_a_withdrawal_after_the_snapshot_drops_the_story_and_a_new_version_brings_it_back() -> None:
    gone = updated(WORLD, [entry("1-0", "s-plain", ',"deleted_at":"2026-01-31T00:00:00Z"')])
    assert dropped_by("withdrawn", gone) == {"s-plain"}
    again = updated(gone, [entry("2-0", "s-plain")])
    assert not again.withdrawn[again.row("s-plain")]
    assert again.position == "2-0"


def test_visibility_narrowed_after_the_snapshot_acts_at_once() -> None:
    narrowed = updated(WORLD, [entry("1-0", "s-plain", ',"visibility":"unlisted","members_only":true')])
    left = everything(narrowed).take(np.setdiff1d(np.arange(len(narrowed)), narrowed.superseded))
    for rule, expected in (("visibility", MINE | {"s-plain"}), ("members_only", {"s-members-only", "s-plain"})):
        drops = next(r for r in default_components().rules if r.name == rule).drops(context(narrowed), left)
        assert set(ids(narrowed, left.take(drops))) == expected


def test_scripts_are_compared_only_where_both_state_one() -> None:
    stories = [{"id": language, "language": language} for language in ("zh", "zh-Hans", "zh-Hant", "en")]
    made = story_table(stories)

    def left(*languages: str) -> set[str]:
        drops = Language().drops(context(made, languages=list(languages)), everything(made))
        assert drops is not None
        return {made.story_id(int(row)) for row in np.flatnonzero(~drops)}

    assert left("zh") == {"zh", "zh-Hans", "zh-Hant"}
    assert left("zh-Hant") == {"zh", "zh-Hant"}
    assert left("zh-Hant", "en") == {"zh", "zh-Hant", "en"}
