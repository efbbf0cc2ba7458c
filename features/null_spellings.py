"""What tools write where there is nothing. As ids these would make one user of all who have none."""

from __future__ import annotations

import os

from features.errors import BadInput

BACKSLASH_N = "\\N"
NULL_SPELLINGS = (
    BACKSLASH_N, "NULL", "Null", "null", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NaT", "None", "undefined",
)  # fmt: skip
"""Of MySQL and Hive, SQL, R, spreadsheets, pandas, Python and JavaScript. `none` and `nil` are left out: no tool writes them, and
sites have topics of that name."""


def ids_like_null(text: str) -> tuple[str, ...]:
    """The spellings that `text`, such as `NA,None`, declares to be ids. BadInput for any other id, and for `\\N`, which is nobody's."""
    given = [one.strip() for one in text.split(",") if one.strip()]
    known = [one for one in NULL_SPELLINGS if one != BACKSLASH_N]
    if others := [one for one in given if one not in known]:
        raise BadInput(
            f"REX_IDS_LIKE_NULL: {others[0]!r} is none of {', '.join(known)}; other ids need no declaration."
        )
    return tuple(given)


_AT_THIS_SITE = ids_like_null(os.environ.get("REX_IDS_LIKE_NULL", ""))
NULL_IDS = tuple(text for text in NULL_SPELLINGS if text not in _AT_THIS_SITE)
"""No ids at this site; `\\N` is always among them. Known when this module is loaded, because declarations are made of it."""
