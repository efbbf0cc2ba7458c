"""What an id looks like at every edge."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field

from features.null_spellings import NULL_IDS
from features.schema import MAX_ID_BYTES, NOT_IDS


def _well_formed(ident: str) -> str:
    if len(ident.encode("utf-8", "surrogatepass")) > MAX_ID_BYTES:
        raise ValueError(f"an id has at most {MAX_ID_BYTES} bytes")
    if not ident.isprintable() and any(unicodedata.category(character) in ("Cc", "Cs") for character in ident):
        raise ValueError("an id is UTF-8 without control characters")
    if ident in NOT_IDS:
        raise ValueError(f"{ident!r} cannot be an id: in a path it is a step to another folder")
    if ident in NULL_IDS:
        raise ValueError(
            f"{ident!r} cannot be an id: some tool writes it where there is none (REX_IDS_LIKE_NULL, if it is an id at this site)"
        )
    return ident


Id = Annotated[str, Field(min_length=1, json_schema_extra={"maxLength": MAX_ID_BYTES}), AfterValidator(_well_formed)]
"""An opaque string of 1 to 128 bytes of UTF-8 without control characters; not `.` or `..`, nor what tools
write where there is nothing, such as `null` (`features.null_spellings.NULL_IDS`)."""
