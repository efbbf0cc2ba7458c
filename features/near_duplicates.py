"""The key that near-duplicate stories share. The batch says the same in Spark SQL (batch/jobs/valid_stories.py)."""

from __future__ import annotations

import unicodedata

from features.keys import hash64


def duplicate_key(title: str | None, story_hash: int) -> int:
    """Hash of the title's words in lower case, sorted; without a word the story's own hash, which it shares with nobody.

    A word is a run of letters and numbers in any script (Unicode categories L and N).
    """
    spaced = "".join(c if unicodedata.category(c)[0] in "LN" else " " for c in (title or "").lower())
    words = sorted(spaced.split())
    return hash64(" ".join(words)) if words else story_hash
