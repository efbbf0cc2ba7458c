"""The only clock of the service: read at the edge, passed in everywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator


def _as_text(value: Any) -> Any:
    """Numbers would be taken for seconds or milliseconds, whichever is less absurd."""
    if isinstance(value, datetime) or (isinstance(value, str) and value[4:5] == "-"):
        return value
    raise ValueError("a time is text as in RFC 3339, such as 2026-01-31T12:00:00Z")


Moment = Annotated[AwareDatetime, BeforeValidator(_as_text)]
"""A time in a request: RFC 3339, with its zone."""
Clock = Callable[[], datetime]
"""Says what time it is, in UTC."""


def clock_from(as_if: datetime | None) -> Clock:
    """The wall clock; or one that stands at `as_if` now and goes on from there."""
    if as_if is None:
        return lambda: datetime.now(UTC)
    started, start = time.monotonic(), as_if.astimezone(UTC) if as_if.tzinfo else as_if.replace(tzinfo=UTC)
    return lambda: start + timedelta(seconds=time.monotonic() - started)
