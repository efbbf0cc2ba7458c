"""What a finished batch run notes: the rows of its jobs, and how far into the online streams its lake is complete."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from batch.graph import BY_NAME
from features.errors import BadInput
from features.lake_layout import run_note
from features.raw_datasets import CLOCK_SKEW_S
from features.streams import LAST_SEQUENCE, stream_order
from lake.drafts import replace_bytes

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


def note_run(
    lake: Path, as_ofs: Sequence[datetime], rows: Mapping[str, Mapping[datetime, int]], archived: dict[str, str]
) -> None:
    """One small file an as_of, written last: rows per job, and how far into the online streams the features reach.

    `rows`: job → rows written per as_of; what is validated is written for the latest only. Only jobs that read the raw lake
    know how far it reached, and jobs may run one by one, at different times: the features hold a stream as far as the job that
    read first saw it.
    """
    for as_of in as_ofs:
        path = run_note(lake, as_of)
        note = json.loads(path.read_bytes()) if path.exists() else {"jobs": {}, "reached": {}}
        for job, counts in rows.items():
            if as_of in counts:
                note["jobs"][job] = counts[as_of]
            if BY_NAME[job].validates:
                note["reached"][job] = clipped(archived, as_of)
        note |= {"as_of": as_of.isoformat(), "positions": earliest(note["reached"].values())}
        replace_bytes(path, (json.dumps(note, sort_keys=True, indent=1) + "\n").encode())


def stream_positions(lake: Path, as_of: datetime) -> dict[str, str]:
    """Stream positions that the finished batch run of `as_of` noted. BadInput when there is no such run."""
    path = run_note(lake, as_of)
    if not path.is_file():
        raise BadInput(f"No batch run of {as_of.isoformat()} has finished in the lake at {lake}; {remedy(as_of)}")
    try:
        positions = json.loads(path.read_bytes())["positions"]
        return {str(stream): str(entry) for stream, entry in positions.items()}
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise BadInput(f"The run file {path} is damaged ({error!r}); {remedy(as_of)}") from error


def remedy(as_of: datetime) -> str:
    """What to do where a run is missing."""
    return f"run `rex batch --as-of {as_of.isoformat()}` first."


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
