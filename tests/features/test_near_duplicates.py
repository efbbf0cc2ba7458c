"""Near-duplicates get one key, the same in the batch and online; titles that say different things do not."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

from batch.jobs.validated import with_keys
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
    "e\u0301cole",
    "İstanbul ΟΔΟΣ",  # lower case that depends on place, or grows
    "日本語のタイトル 2026年",
    "snake_case and\ttabs\u00a0and\u2003spaces",
    "emoji 👩‍💻 inside",
    "ʻokina and ª º",  # letters that only look like marks
]


SAME = [
    ("葛\ufe00城", "葛城"),  # a variation selector
    ("Ten Ways to Sleep!", "to sleep: ten WAYS"),  # Latin: order, case, punctuation
    ("Straße nach Süden", "STRASSE NACH SÜDEN"),
    ("Une \u00e9cole", "Une e\u0301cole"),  # composed, decomposed
    ("Visit \u0130zmir", "visit i\u0307zmir"),  # a dotted capital I, folded without a locale
    ("Learn C++ in 2026", "In 2026, learn c++"),
    ("C++20 explained", "C++ 20, explained"),
    ("Rock+roll", "Rock roll"),
    ("soft\u00adhyphen", "softhyphen"),
    ("Ο ΔΡΟΜΟΣ", "ο δρομος"),  # Greek: a final sigma
    ("Καφές", "ΚΑΦΈΣ"),
    ("ВОЙНА и мир", "Война и МИР"),  # Cyrillic
    ("Чай и\u0306од", "чай йод"),  # only the marks' order of composition
    ("ԵՐԵՎԱՆ", "երեվան"),  # Armenian
    ("क\u093cलम", "\u0958लम"),  # Devanagari: a composition that Unicode excludes
    ("आज का दिन!", "दिन, आज का"),
    ("نص\u200f جديد", "جديد نص"),  # Arabic: a mark of direction says nothing
    ("שלום, עולם", "עולם שלום"),  # Hebrew
    ("ภาษาไทย!", "«ภาษาไทย»"),  # Thai
    ("한국어 뉴스", "\u1112\u1161\u11ab\u1100\u116e\u11a8\u110b\u1165 뉴스"),  # Hangul: syllables and their jamo
    ("が始まる", "か\u3099始まる"),  # kana with a voiced mark
    ("中文新闻。", "《中文新闻》"),  # Han
    ("கொ", "க\u0bc6\u0bbe"),  # Tamil: a vowel of two signs
]
DIFFERENT = [
    ("Learn C++ in 2026", "Learn C# in 2026"),
    ("Learn C in 2026", "Learn C++ in 2026"),
    ("F# for all", "F for all"),
    ("resume", "résumé"),
    ("Isparta", "\u0131sparta"),  # a dotless i is another letter everywhere
    ("Ten ways", "Ten ways ten"),
    ("आज का दिन", "आज का दान"),  # only vowel signs differ
    ("कल", "कला"),
    ("ما", "مَا"),  # a vowel mark
    ("שָׁלוֹם", "שלום"),
    ("ขา", "ข่า"),  # a tone mark: leg, galangal
    ("ใกล", "ใกล้"),
    ("가", "각"),
    ("かき", "かぎ"),  # oyster, key
    ("はし", "ばし"),
    ("日本", "日木"),
    ("பல", "பால்"),
    ("все", "всё"),
    ("мир", "мирь"),
    ("երեվան", "երևան"),
    ("😀", "😢"),
    ("👍🏽", "👍🏿"),
    ("\u0301\u0302", "\u0300"),  # marks only
    ("!!!", "???"),
    ("++", "##"),
]
"""Titles of other words; the last ones are of no word at all, and so share no key either."""


@pytest.mark.parametrize(("one", "other"), SAME)
def test_titles_of_the_same_words_share_a_key(one: str, other: str) -> None:
    assert one != other
    assert duplicate_key(one, 1) == duplicate_key(other, 2)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_titles_of_other_words_do_not(one: str, other: str) -> None:
    assert duplicate_key(one, 1) != duplicate_key(other, 2)


def test_batch_and_online_give_every_title_the_same_key(spark: SparkSession) -> None:
    titles = [*TITLES, *(title for pair in SAME + DIFFERENT for title in pair)]
    rows = [(f"s{i}", title) for i, title in enumerate(titles)]
    keyed = with_keys(spark.createDataFrame(rows, "story_id string, title string")).collect()
    assert len(keyed) == len(titles)
    for row in keyed:
        assert duplicate_key(row["title"], hash64(row["story_id"])) == row["duplicate_key"], repr(row["title"])


def test_without_a_word_the_key_is_the_storys_own() -> None:
    assert [duplicate_key(title, 7) for title in (None, "", "…!?", "\u0301 \u20dd", "👩‍💻", "#")] == [7] * 6
