"""Moments as numbers and as text: one form of each wherever Rex writes one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(moment: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def utc_day(at_us: int) -> str:
    """The UTC day of a moment in microseconds since 1970, as `YYYYMMDD`."""
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y%m%d")


def rfc3339(moment: datetime) -> str:
    """UTC with a `Z` at the end: some clients read no other form. `moment` knows its time zone."""
    return moment.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


def rfc3339_of(micros: int) -> str:
    """The same of microseconds since 1970, to the microsecond."""
    return rfc3339(EPOCH + timedelta(microseconds=micros))
