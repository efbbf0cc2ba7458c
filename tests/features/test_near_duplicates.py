"""Near-duplicates get one key, and the batch's formula and the online one give the same."""

from __future__ import annotations

from pyspark.sql import SparkSession

from batch.jobs.valid_stories import with_keys
from features.keys import hash64
from features.near_duplicates import duplicate_key

TITLES = [
    "Ten Ways to Sleep!",
    "to sleep: ten WAYS",
    "",
    "   ",
    "…!?",
    None,
    "10 things, 10 things",
    "½ of ² is Ⅳ",  # numbers that are no digits
    "Straße ẞ ÉCOLE",
    "e\u0301cole",  # a combining mark is no letter
    "İstanbul ΟΔΟΣ",  # lower case that depends on place, or grows
    "日本語のタイトル 2026年",
    "snake_case and\ttabs\u00a0and\u2003spaces",
    "emoji 👩‍💻 inside",
    "ʻokina and ª º",  # letters that only look like marks
]


def test_batch_and_online_give_every_title_the_same_key(spark: SparkSession) -> None:
    rows = [(f"s{i}", title) for i, title in enumerate(TITLES)]
    keyed = with_keys(spark.createDataFrame(rows, "story_id string, title string")).collect()
    assert len(keyed) == len(TITLES)
    for row in keyed:
        assert duplicate_key(row["title"], hash64(row["story_id"])) == row["duplicate_key"], repr(row["title"])


def test_the_same_words_share_a_key_and_without_a_word_it_is_the_storys_own() -> None:
    assert duplicate_key("Ten Ways to Sleep!", 1) == duplicate_key("to sleep: ten WAYS", 2)
    assert duplicate_key("Ten ways", 1) != duplicate_key("Ten ways ten", 2)
    assert [duplicate_key(title, 7) for title in (None, "", "…!?")] == [7, 7, 7]
