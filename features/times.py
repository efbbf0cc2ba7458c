"""Moments as numbers and as text: one form of each wherever Rex writes one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
FOREVER_US = 2**63 - 1
"""Later than every date: the greatest int64."""
UNDATED = -(1 << 62)
"""In place of microseconds: nobody knows when. Earlier than every date, so that orders put it last among the newest and nothing
takes it for the future; far enough from the ends of int64 that its difference to any date still fits."""


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


def rfc3339_or_none(micros: int) -> str | None:
    """The same of a time that may be UNDATED: None."""
    return None if micros == UNDATED else rfc3339_of(micros)
