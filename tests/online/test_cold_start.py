"""Who and what nobody knows yet: people without events, stories without events."""

from __future__ import annotations

from typing import Any

from online.components import default_components
from online.pipeline import Pipeline
from online.settings import OnlineSettings
from online.slate import Slate
from tests.online.small_world import context, world

PIPELINE = Pipeline(default_components(), lambda ctx, slate: None)
STORIES: list[dict[str, Any]] = [
    *(
        {"id": f"other{i}", "author": f"a{i}", "topics": ["cooking"], "language": "en", "age_h": 1.0 + i}
        for i in range(4)
    ),
    {"id": "topic", "author": "b1", "topics": ["chess"], "language": "en", "age_h": 20 * 24.0},
    {"id": "hot", "author": "b2", "topics": ["cooking"], "language": "en", "age_h": 20 * 24.0},
    {"id": "hot-de", "author": "b3", "topics": ["kochen"], "language": "de", "age_h": 20 * 24.0},
]
TOP: list[tuple[str | None, str]] = [("en", "hot"), ("de", "hot-de"), (None, "hot-de"), (None, "hot")]


def told(slate: Slate) -> dict[str, list[str]]:
    """Story → the providers that brought it."""
    of = world(STORIES, TOP)
    names = [of.story_id(int(row)) for row in of.by_hash.find(slate.stories)]
    return {
        name: [source for bit, source in enumerate(slate.info.sources) if bits >> bit & 1]
        for name, bits in zip(names, slate.sources.tolist(), strict=True)
    }


class TestPeople:
    def test_followed_topics_come_first_then_what_is_trending_and_fresh(self) -> None:
        slate = PIPELINE.build(context(world(STORIES, TOP), follow_topic=["chess"], languages=["en"]))
        found = told(slate)
        assert next(iter(found)) == "topic"
        assert found["topic"] == ["followed_topics"]
        assert found["hot"] == ["trending"]
        assert found["other0"] == ["fresh_stories"]

    def test_their_languages_decide_what_trends_and_what_may_be_shown(self) -> None:
        german = told(PIPELINE.build(context(world(STORIES, TOP), languages=["de"])))
        assert list(german) == ["hot-de"]
        assert german["hot-de"] == ["trending"]

    def test_of_somebody_of_whom_nothing_is_known_all_languages_are(self) -> None:
        found = told(PIPELINE.build(context(world(STORIES, TOP))))
        assert {"hot", "hot-de", "other0"} <= set(found)


class TestStories:
    def test_one_put_online_takes_over_the_rates_of_its_author(self) -> None:
        from tests.online.test_delta import entries

        of = world([{"id": "old", "author": "a"}])
        grown = of.after(entries({"id": "new", "author": "a"}))
        row = grown.row("new")
        assert grown.static["author_open_rate"][row] == of.static["author_open_rate"][of.row("old")]
        slate = PIPELINE.build(context(grown, settings=OnlineSettings()))
        assert len(slate) == 2
