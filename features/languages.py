"""What language tags mean. A *language* is the part of a tag that decides who can read a text: `pt`, or `zh-Hant` where the
tag states a script."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache

import langcodes
import numpy as np
from langcodes.tag_parser import LanguageTagError

from features.arrays import I64, Bools

MAX_TAG = 35
"""Characters that every implementation of BCP 47 must take (RFC 5646, 4.4.1); none in use is longer."""
UNKNOWN = frozenset({"und", "mul", "zxx", "mis"})
"""Undetermined, several, none at all, one without a code: nobody can be said not to read it."""
NORWEGIAN = frozenset({"nb", "nn"})
"""Readers of one can read the other, and most texts are tagged `no`. The registry has them in that macrolanguage, CLDR does not."""
NO_SCRIPTS = frozenset({"Zinh", "Zmth", "Zsym", "Zxxx", "Zyyy", "Zzzz"})
"""ISO 15924's codes for inherited, mathematical, symbols, unwritten, undetermined and uncoded: they name no script."""
MAX_HEADER = 1_000
"""Characters of an Accept-Language header that is still looked at; browsers send fewer than 200."""

_SCRIPT = np.int64((1 << 32) - 1)
"""The bits of a code that are the script's."""


def canonical(tag: str | None) -> str | None:
    """The tag in canonical form, with the region: `pt_br` → `pt-BR`, `iw` → `he`, `cmn-Hans` → `zh-Hans`.

    None for None and for a tag of no known language. ValueError for what is not a tag of BCP 47.
    """
    found = _parsed(tag) if tag else None
    return None if found is None else found.to_tag()


def language_of(tag: str | None) -> str | None:
    """The language that a tag names; None and ValueError as in `canonical`."""
    found = _parsed(tag) if tag else None
    return None if found is None else "-".join(part for part in (found.language, found.script) if part)


@lru_cache(maxsize=4096)
def _parsed(tag: str) -> langcodes.Language | None:
    if len(tag) > MAX_TAG:
        raise ValueError(f"a language tag has at most {MAX_TAG} characters, this one {len(tag)}")
    found = _read(tag, tag).prefer_macrolanguage()
    language = found.language or "und"
    if language in UNKNOWN or language.startswith("x-"):
        return None
    if not 2 <= len(language) <= 3:
        raise ValueError(f"{tag!r} is not a language tag of BCP 47: languages have two or three letters")
    if language in NORWEGIAN:
        found = found.update_dict({"language": "no"})
    if found.script in NO_SCRIPTS:
        found = found.update_dict({"script": None})
    _read(found.to_tag(), tag)  # what is kept can be parsed again, which of a wrong extended language is not so
    return found


def _read(tag: str, given: str) -> langcodes.Language:
    """The tag, parsed; ValueError names `given`."""
    try:
        return langcodes.Language.get(tag)
    except LanguageTagError as error:
        raise ValueError(f"{given!r} is not a language tag of BCP 47 ({error})") from error


def known_languages(tags: Iterable[str | None]) -> list[str]:
    """The languages that tags name, each once, sorted; malformed tags name none."""
    return sorted({language for tag in tags if _is_well_formed(tag) and (language := language_of(tag)) is not None})


def well_formed(tags: Iterable[str | None]) -> bool:
    """Whether all are tags of BCP 47; None and "" state nothing and so nothing wrong."""
    return all(_is_well_formed(tag) for tag in tags)


def _is_well_formed(tag: str | None) -> bool:
    try:
        language_of(tag)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=4096)
def language_code(language: str) -> int:
    """A language as a positive number that holds all of it: three bytes and, for the script, four more."""
    name, _, script = language.partition("-")
    return int.from_bytes(name.encode().ljust(3, b"\0") + script.encode().ljust(4, b"\0"), "big")


def language_codes(languages: Iterable[str]) -> I64:
    """int64[n]: the code of each."""
    return np.array([language_code(language) for language in languages], np.int64)


def language_named(code: int) -> str:
    """The language of a code."""
    packed = code.to_bytes(7, "big").replace(b"\0", b"").decode()
    letters = 3 if code >> 32 & 0xFF else 2
    return packed if len(packed) <= letters else f"{packed[:letters]}-{packed[letters:]}"


def readable(languages: I64, read: I64) -> Bools:
    """bool[n]: which of n languages are readable to a user who reads the m languages of `read`; all as codes.

    Languages match by name; scripts are compared only where both state one.
    """
    one, other = languages[:, None], read[None, :]
    same_script = ((one ^ other) & _SCRIPT == 0) | (one & _SCRIPT == 0) | (other & _SCRIPT == 0)
    return np.any((one >> 32 == other >> 32) & same_script, axis=1)


def accepted_languages(header: str | None) -> tuple[int, ...]:
    """Codes of the languages in an Accept-Language header, ascending; empty where it says nothing that can be used.

    A hint: what is malformed, refused (`q=0`), unknown, or too long is skipped. `*` says nothing.
    """
    if header is None or len(header) > MAX_HEADER:
        return ()
    parts = (part.strip().partition(";") for part in header.split(","))
    return tuple(sorted(map(language_code, known_languages(tag.strip() for tag, _, q in parts if _is_wanted(q)))))


def _is_wanted(parameter: str) -> bool:
    """Whether a quality (`q=0.5`, or none, which is 1) is well-formed and not 0."""
    if not parameter.strip():
        return True
    name, _, value = parameter.partition("=")
    try:
        quality = float(value)
    except ValueError:
        return False
    return name.strip().lower() == "q" and math.isfinite(quality) and 0 < quality <= 1
