"""Redis streams as this project reads them."""

from __future__ import annotations

StreamEntry = tuple[bytes, dict[bytes, bytes]]
"""(id, fields) as redis-py gives it."""
START = "0-0"
"""Position before the first entry of any stream."""


def stream_order(position: str) -> tuple[int, int]:
    """Stream ids `<ms>-<seq>` compared as numbers."""
    ms, _, sequence = position.partition("-")
    return int(ms), int(sequence or 0)
