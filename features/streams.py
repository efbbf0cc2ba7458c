"""Redis streams as both sides see them: entries, and the order of their ids."""

from __future__ import annotations

StreamEntry = tuple[bytes, dict[bytes, bytes]]
"""(id, fields) as redis-py gives it."""

START = "0-0"
"""Position before the first entry of any stream."""
LAST_SEQUENCE = (1 << 64) - 1
"""The greatest sequence number that Redis gives to entries of one millisecond."""


def stream_order(position: str) -> tuple[int, int]:
    """Stream ids `<ms>-<seq>` compared as numbers; as text they would sort wrongly."""
    ms, _, sequence = position.partition("-")
    return int(ms), int(sequence or 0)


def before(entry_id: str) -> str:
    """The greatest position before an entry."""
    ms, sequence = stream_order(entry_id)
    if sequence:
        return f"{ms}-{sequence - 1}"
    return f"{ms - 1}-{LAST_SEQUENCE}" if ms else START
