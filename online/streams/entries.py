"""Redis streams as this project reads them."""

from __future__ import annotations

from features.streams import START, stream_order

__all__ = ["START", "StreamEntry", "stream_order"]

StreamEntry = tuple[bytes, dict[bytes, bytes]]
"""(id, fields) as redis-py gives it."""
