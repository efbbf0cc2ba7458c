"""What building a slate needs beyond the user's state: read in one more round trip, on a cache miss only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from online.timelines.targets import Pulled
from online.timelines.timeline import Timeline
from online.user.served_history import ServedHistory


@dataclass(frozen=True, slots=True)
class BuildInputs:
    """Empty where nothing is known."""

    timeline: Timeline | None = None
    """None: the user has been away, and nothing is pushed to them now."""
    pulled_version: int = 0
    """Version of the set of targets whose stories are pulled at read (0: nobody's are), read before the timeline."""
    pulled: Pulled = field(default_factory=Pulled)
    """That set, at this version or a later one."""
    served: ServedHistory = field(default_factory=ServedHistory)
    promoted: Mapping[int, int] = field(default_factory=dict)
    """Hash of a promotion → its slate entries today."""
    degraded: tuple[str, ...] = ()
    """What could not be read and is empty here."""
    digest: bytes = b""
    """Hash of the raw bytes this was read from: equal readings, equal digests."""
