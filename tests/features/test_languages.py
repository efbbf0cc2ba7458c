"""Language tags: which name the same language, who can read what, and what a browser's header says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.languages import (
    MAX_HEADER,
    accepted_languages,
    canonical,
    known_languages,
    language_code,
    language_codes,
    language_named,
    language_of,
    readable,
    well_formed,
)

CANONICAL = {
    "pt": "pt",
    "PT": "pt",
    "pt_BR": "pt-BR",
    "pt-br": "pt-BR",
    "por": "pt",
    "EN": "en",
    "ger": "de",
    "iw": "he",  # deprecated
    "in-ID": "id-ID",
    "cmn-Hans": "zh-Hans",  # a part of a macrolanguage that is what the macrolanguage's tag means
    "zh-cmn-Hant-TW": "zh-Hant-TW",
    "arb": "ar",
    "nb": "no",
    "nn-NO": "no-NO",
    "sh": "sr-Latn",
    "yue": "yue",  # Cantonese is no other name of what `zh` means
    "x-own": None,
    "": None,
    "und": None,
    "und-Latn": None,
    "mul": None,
    "ZXX": None,
    None: None,
}
MALFORMED = [
    "EN_us!!",
    "zh-cmn-5yn",  # what the library makes of it is no tag
    "ar-arb-2by",
    "english",
    "e",
    "en--us",
    "en-",
    " en",
    "*",
    "abcd",
    "ｅｎ",
    "en\n",
    "a" * 200,
    "en-" + "x" * 197,
]
CAN_READ = [
    ("pt", "pt-BR", True),
    ("pt-BR", "pt-PT", True),
    ("en", "pt", False),
    ("zh", "zh-Hant", True),
    ("zh-Hant", "zh", True),
    ("zh-Hans", "zh-Hant", False),
    ("zh-Hant-TW", "zh-Hant-HK", True),
    ("sr-Latn", "sr-Cyrl", False),
    ("sr", "sr-Cyrl", True),
    ("sh", "sr-Cyrl", False),
    ("no", "nb", True),
    ("nn", "nb", True),
    ("he", "iw", True),
    ("fi", "fil", False),
    ("en-Zyyy", "en-Latn", True),  # an undetermined script is none
]


@pytest.mark.parametrize(("tag", "expected"), CANONICAL.items())
def test_tags_have_one_canonical_form(tag: str | None, expected: str | None) -> None:
    assert canonical(tag) == expected
    assert canonical(expected) == expected
    assert well_formed([tag])


@pytest.mark.parametrize("tag", MALFORMED)
def test_what_is_no_tag_is_refused_and_names_no_language(tag: str) -> None:
    for refusing in (canonical, language_of):
        with pytest.raises(ValueError, match="language"):
            refusing(tag)
    assert not well_formed(["en", tag])
    assert known_languages([tag, "de"]) == ["de"]


@pytest.mark.parametrize(("user", "story", "expected"), CAN_READ)
def test_languages_match_by_name_and_scripts_where_both_state_one(user: str, story: str, expected: bool) -> None:
    read, written = (language_codes(known_languages([tag])) for tag in (user, story))
    assert readable(written, read).tolist() == [expected]


def test_several_languages_are_matched_at_once() -> None:
    stories = language_codes(["en", "pt", "zh", "zh-Hans", "zh-Hant"])
    assert readable(stories, language_codes(["zh-Hant", "pt"])).tolist() == [False, True, True, False, True]
    assert readable(stories, np.empty(0, np.int64)).tolist() == [False] * 5


@given(st.text(st.characters(codec="ascii"), max_size=40) | st.text(max_size=40))
def test_any_text_is_a_language_with_a_code_or_none_or_refused(tag: str) -> None:
    if well_formed([tag]):
        for language in known_languages([tag]):
            assert language_named(language_code(language)) == language == language_of(language)


def named(header: str | None) -> list[str]:
    return sorted(map(language_named, accepted_languages(header)))


def test_a_header_names_the_languages_that_it_does_not_refuse() -> None:
    assert named("de-AT, de;q=0.9, en-US;q=0.8,en; q=0.7, fr;q=0, *;q=0.1") == ["de", "en"]
    assert named("zh-TW, zh_Hant;Q=1.0") == ["zh", "zh-Hant"]
    assert accepted_languages("de,en") == accepted_languages("en;q=0.3, de;q=0.2")


@pytest.mark.parametrize("header", [None, "", "*", ";", ",,", "de;q", "de;q=x", "de;q=2", "de;q=-1", "de;q=nan", "d!"])
def test_a_header_that_says_nothing_is_no_hint(header: str | None) -> None:
    assert named(header) == []


@given(st.text(max_size=2 * MAX_HEADER))
def test_no_header_raises(header: str) -> None:
    named(header)


def test_a_header_that_is_too_long_says_nothing() -> None:
    assert named("de," + " " * (MAX_HEADER - 3)) == ["de"]
    assert named("de," + " " * (MAX_HEADER - 2)) == []
