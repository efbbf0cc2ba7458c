"""The moments a run is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from features.errors import BadInput


def checked_moments(as_ofs: Sequence[datetime], now: datetime) -> tuple[datetime, ...]:
    """`as_ofs` in UTC, ascending, each once. BadInput when there is none, or one has no zone, fractions of a second, or is after `now`."""
    if not as_ofs:
        raise BadInput("No as_of was given; give at least one.")
    for as_of in as_ofs:
        if as_of.tzinfo is None:
            raise BadInput(f"The as_of {as_of} has no time zone; write for example {as_of.isoformat()}Z.")
        if as_of.microsecond:
            raise BadInput(f"The as_of {as_of.isoformat()} is not a whole second; leave out the fraction.")
        if as_of > now:
            raise BadInput(
                f"The as_of {as_of.isoformat()} is after now ({now.isoformat()}); nobody knows yet what it will see."
            )
    return tuple(sorted({as_of.astimezone(UTC) for as_of in as_ofs}))
