"""Moments as text: one form wherever Rex writes one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(moment: datetime) -> str:
    """UTC with a `Z` at the end: some clients read no other form. `moment` knows its time zone."""
    return moment.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


def rfc3339_of(micros: int) -> str:
    """The same of microseconds since 1970, to the microsecond."""
    return rfc3339(EPOCH + timedelta(microseconds=micros))
