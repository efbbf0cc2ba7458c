"""How far into the online streams the lake of a batch run is complete."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from features.errors import BadInput
from features.raw_datasets import CLOCK_SKEW_S
from features.streams import LAST_SEQUENCE, stream_order

_ENTRY = re.compile(r"(\d+)-(\d+)")


def read_archived(lake: Path) -> dict[str, str]:
    """Stream → id of its last entry that is in the raw lake; empty where nothing was ever archived. BadInput when damaged."""
    path = lake / "raw" / "_archived.json"
    if not path.exists():
        return {}
    try:
        archived = json.loads(path.read_bytes())
    except ValueError as error:
        raise BadInput(
            f"{path} is damaged ({error}); restore it, or remove it to have all kept stream entries replayed online."
        ) from error
    if not isinstance(archived, dict) or not all(
        isinstance(entry, str) and _ENTRY.fullmatch(entry) for entry in archived.values()
    ):
        raise BadInput(f"{path} is no map from stream to entry id (such as 1767225600000-0); restore it or remove it.")
    return archived


def clipped(archived: dict[str, str], as_of: datetime) -> dict[str, str]:
    """`archived`, none later than `as_of` less the tolerated clock skew.

    What came later an as_of may not see, so online has to replay it. An entry's id is Redis' time, what decides in the lake
    is the time of whoever sent or received it; the two may differ by the skew. Replaying what is held does no harm.
    """
    limit_ms = (int(as_of.timestamp()) - CLOCK_SKEW_S) * 1000
    return {
        stream: entry if int(entry.split("-")[0]) <= limit_ms else f"{limit_ms}-{LAST_SEQUENCE}"
        for stream, entry in sorted(archived.items())
    }


def earliest(reached: Iterable[dict[str, str]]) -> dict[str, str]:
    """Per stream the earliest of several positions; a stream that one of them does not know is not held at all."""
    several = list(reached)
    streams = set.intersection(*(set(one) for one in several)) if several else set()
    return {stream: min((one[stream] for one in several), key=stream_order) for stream in sorted(streams)}
