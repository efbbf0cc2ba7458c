"""Who and what nobody knows yet: users without events, stories without events."""

from __future__ import annotations

from typing import Any, ClassVar

import pyarrow as pa
import pytest

from features.registry import BY_NAME
from online.components import default_components
from online.pipeline import Pipeline
from online.service_settings import OnlineSettings
from online.slates.slate import Slate
from online.story_table.build import build_story_table
from online.story_table.table import StoryTable
from online.story_table.updates import updated
from tests.online.small_world import context, manifest, story_table, tables
from tests.online.test_delta import entries

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


def told(slate: Slate, of: StoryTable | None = None) -> dict[str, list[str]]:
    """Story → the providers that brought it, in the slate's order."""
    of = of or story_table(STORIES, TOP)
    names = [of.story_id(int(row)) for row in of.by_hash.find(slate.stories)]
    return {
        name: [source for bit, source in enumerate(slate.info.sources) if bits >> bit & 1]
        for name, bits in zip(names, slate.sources.tolist(), strict=True)
    }


class TestUsers:
    def test_followed_topics_come_first_then_what_is_trending_and_fresh(self) -> None:
        slate = PIPELINE.build(context(story_table(STORIES, TOP), follow_topic=["chess"], languages=["en"]))
        found = told(slate)
        assert next(iter(found)) == "topic"
        assert found["topic"] == ["followed_topics"]
        assert found["hot"] == ["trending"]
        assert found["other0"] == ["fresh_stories"]

    def test_their_languages_decide_what_trends_and_what_may_be_shown(self) -> None:
        german = told(PIPELINE.build(context(story_table(STORIES, TOP), languages=["de"])))
        assert list(german) == ["hot-de"]
        assert german["hot-de"] == ["trending"]

    def test_of_somebody_of_whom_nothing_is_known_all_languages_are(self) -> None:
        found = told(PIPELINE.build(context(story_table(STORIES, TOP))))
        assert {"hot", "hot-de", "other0"} <= set(found)


class TestStories:
    """Of a story that nobody has seen, what is known of its author, its publication, its topics and its language stands in."""

    RATES: ClassVar = {
        ("authors", "author"): {"a": (0.5, 0.75), "dull": (0.02, 0.1)},
        ("publications", "publication"): {"p": (0.4, 0.6)},
        ("topics", "topic"): {"chess": (0.3, 0.5), "go": (0.1, 0.25)},
        ("languages", "language"): {"en": (0.35, 0.55), "pt": (0.15, 0.2)},
    }
    """Entity → open rate, read rate; no two alike, and none is a default."""

    @pytest.fixture
    def known(self) -> StoryTable:
        old = {"id": "old", "author": "a", "publication": "p", "topics": ["chess"], "language": "en"}
        made = tables([old, {"id": "old2", "author": "dull", "topics": ["go"], "language": "pt"}])
        for (table, entity), rates in self.RATES.items():
            of = made[table]
            for at, what in enumerate(("open", "read")):
                name = f"{entity}_{what}_rate"
                column = pa.array([rates[ident.as_py()][at] for ident in of["id"]], pa.float32())
                made[table] = made[table].set_column(of.column_names.index(name), name, column)
        return build_story_table(manifest(made), made)

    def static(self, of: StoryTable, story: str) -> dict[str, float]:
        return {name: float(values[of.row(story)]) for name, values in of.static.items()}

    def test_one_put_online_has_the_rates_of_its_author_publication_topics_and_language(
        self, known: StoryTable
    ) -> None:
        story = {"id": "new", "author": "a", "publication": "p", "topics": ["chess", "go"], "language": "en"}
        found = self.static(updated(known, entries(story)), "new")
        expected = {
            "story_open_rate": 0.5,  # smoothing of no events leaves the author's, as in the batch
            "story_read_rate": 0.75,
            "author_open_rate": 0.5,
            "author_read_rate": 0.75,
            "publication_open_rate": 0.4,
            "publication_read_rate": 0.6,
            "topic_open_rate": (0.3 + 0.1) / 2,
            "topic_read_rate": (0.5 + 0.25) / 2,
            "language_open_rate": 0.35,
            "language_read_rate": 0.55,
        }
        assert {name: found[name] for name in expected} == pytest.approx(expected)
        assert (found["story_popularity"], found["story_momentum"], found["story_claps"]) == (0, 0, 0)

    def test_of_unknown_ones_it_has_the_registered_defaults(self, known: StoryTable) -> None:
        unknown = {"id": "new", "author": "b", "publication": "q", "topics": ["x"], "language": "fi"}
        found = self.static(updated(known, entries(unknown)), "new")
        assert found == pytest.approx({name: BY_NAME[name].default for name in found})

    def test_of_no_language_it_has_the_registered_defaults(self, known: StoryTable) -> None:
        found = self.static(updated(known, entries({"id": "new", "author": "a"})), "new")
        names = ("language_open_rate", "language_read_rate")
        assert [found[name] for name in names] == pytest.approx([BY_NAME[name].default for name in names])

    def test_one_that_is_translated_has_the_rates_of_its_new_language(self, known: StoryTable) -> None:
        assert self.static(known, "old")["language_open_rate"] == pytest.approx(0.35)
        found = self.static(updated(known, entries({"id": "old", "author": "a", "language": "pt"})), "old")
        assert (found["language_open_rate"], found["language_read_rate"]) == pytest.approx((0.15, 0.2))

    def test_so_it_is_ranked_before_anybody_has_seen_it(self, known: StoryTable) -> None:
        grown = updated(
            known,
            entries(
                {"id": "by-dull", "author": "dull", "topics": ["go"]}, {"id": "by-a", "author": "a", "topics": ["go"]}
            ),
        )
        no_lots = OnlineSettings(postprocess={"explore_share": 0.0})
        assert (
            next(
                name for name in told(PIPELINE.build(context(grown, settings=no_lots)), grown) if name.startswith("by")
            )
            == "by-a"
        )
