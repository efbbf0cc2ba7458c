"""The key that near-duplicate stories share: one function, which batch and online both call."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from features.keys import hash64

_JOINING = re.compile(r"(?<![^\s\d])[+#]+|[+#]+(?=[^\s\d+#])|(?<=[+#])(?=\d)")
"""Signs that belong to no word: `C++` and `C#` name something other than `C`, that of `rock+roll` only joins.
`C++20` is two words."""
_VARIATION_SELECTORS = range(0xFE00, 0xFE10)


class _Kept(dict[int, int | str | None]):
    """Code point → itself, if it may be part of a word (letter, number, mark, `+`, `#`), else a space.

    None: invisible (marks of direction, soft hyphens, joiners), and so no part of what a title says. Filled as characters come.
    """

    def __missing__(self, point: int) -> int | str | None:
        category = unicodedata.category(chr(point))
        kept: int | str | None = point if category[0] in "LNM" or chr(point) in "+#" else " "
        if category == "Cf" or point in _VARIATION_SELECTORS:
            kept = None
        self[point] = kept
        return kept


_KEPT = _Kept()


def duplicate_key(title: str | None, story_hash: int) -> int:
    """Hash of the title's words, sorted; without a word the story's own hash, which it shares with nobody.

    A word is a letter or number and the letters, numbers and marks that follow it, in any script; a `+` or `#` at the end of
    one that ends in a letter belongs to it. Words are compared by Unicode's canonical caseless match, without a locale.
    """
    words = _words(title or "")
    return hash64(" ".join(words)) if words else story_hash


def duplicate_keys(titles: Iterable[str | None], story_hashes: np.ndarray) -> np.ndarray:
    """int64[n]: `duplicate_key` of n titles and int64[n] hashes; each different title is taken apart once."""
    encoded = pa.array(titles, pa.string()).dictionary_encode()
    words = [_words(title) for title in encoded.dictionary.to_pylist()]
    # Index 0 stands for no title.
    hashes = np.array([0, *(hash64(" ".join(found)) for found in words)], np.int64)
    worded = np.array([False, *map(bool, words)])
    index = np.asarray(encoded.indices.fill_null(-1)) + 1
    return np.where(worded[index], hashes[index], story_hashes)


def _words(title: str) -> list[str]:
    """The words, folded and sorted. Folding needs the decomposed form (Unicode, D145); equal words are equal in NFC."""
    if title.isascii():
        return sorted(_without_joining(title.lower().translate(_KEPT)).split())
    folded = unicodedata.normalize("NFD", title).casefold().translate(_KEPT)
    words = map(_from_first_letter, _without_joining(unicodedata.normalize("NFC", folded)).split())
    return sorted(word for word in words if word)


def _without_joining(text: str) -> str:
    return _JOINING.sub(" ", text) if "+" in text or "#" in text else text


def _from_first_letter(word: str) -> str:
    """Without the marks before the first letter or number; empty for marks alone."""
    return word[next((i for i, c in enumerate(word) if unicodedata.category(c)[0] in "LN"), len(word)) :]
