"""What an id looks like at every edge."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field

from features.schema import MAX_ID_BYTES


def _well_formed(ident: str) -> str:
    if len(ident.encode("utf-8", "surrogatepass")) > MAX_ID_BYTES:
        raise ValueError(f"an id has at most {MAX_ID_BYTES} bytes")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in ident):
        raise ValueError("an id has no control characters")
    return ident


Id = Annotated[str, Field(min_length=1), AfterValidator(_well_formed)]
"""An opaque string of 1 to 128 bytes without control characters."""
