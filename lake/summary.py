"""What an import reports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """Rows written, by dataset."""

    rows: dict[str, int]
