"""Readable titles. Only near-duplicates share the set of their words."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from features.arrays import I32
from lake.simulator.config import LANGUAGES, WorldConfig
from lake.simulator.vocabulary import ADJECTIVES, NOUNS, NUMBERED, PATTERNS, SETTINGS, TOPICS


def titles(config: WorldConfig, languages: NDArray[np.int8], topics: NDArray[np.int16], copy_of: I32) -> list[str]:
    """A title a story, from its language (index into LANGUAGES) and first topic; `copy_of` is the original's row or -1."""
    picks = config.random("titles").integers(0, 1 << 30, (len(languages), 4))
    used: Counter[str] = Counter()
    out: list[str] = []
    for row, (language, topic, original) in enumerate(
        zip(languages.tolist(), topics.tolist(), copy_of.tolist(), strict=True)
    ):
        if original >= 0:
            out.append(vary(out[original], int(picks[row, 0])))
        else:
            out.append(_fresh(LANGUAGES[language], TOPICS[topic], picks[row].tolist(), used))
    return out


def _fresh(language: str, topic: str, picks: list[int], used: Counter[str]) -> str:
    adjective, noun, setting = (
        words[language][pick % len(words[language])]
        for words, pick in zip((ADJECTIVES, NOUNS, SETTINGS), picks, strict=False)
    )
    title = PATTERNS[language].format(
        adjective=adjective, noun=noun, topic=topic.replace("-", " ").title(), setting=setting
    )
    used[title] += 1
    return title if used[title] == 1 else f"{title}, {NUMBERED[language]} {used[title]}"


def vary(title: str, pick: int) -> str:
    """The same words in another case, punctuation or order: what a near-duplicate is called."""
    words = title.split()
    return (title.upper(), title + "!", title.lower().replace(",", ""), " ".join((*words[2:], *words[:2])))[pick % 4]
