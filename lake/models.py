"""The models of a lake: `<lake>/models/<sha256>.model`, a card beside each, and the one that is to be published.

`released.json` names it. It is replaced in one step, after the file it names is there; so readers find the earlier model or the
new one, and a training that fails changes nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from features.errors import BadInput
from features.packing import name_of
from lake.drafts import replace_bytes

SUFFIX = ".model"


@dataclass(frozen=True, slots=True)
class Release:
    """What `released.json` says."""

    sha256: str
    as_of: str
    """RFC 3339: what the model learned from was known by then."""
    released_at: str
    shortfalls: tuple[str, ...]
    """Baselines that it does not surely beat; not empty only when it was forced."""

    def age_s(self, at: datetime) -> float:
        """Seconds from the as_of of its training to `at`."""
        return (at - datetime.fromisoformat(self.as_of)).total_seconds()


def models_of(lake: Path) -> Path:
    """The folder of a lake's models."""
    return lake / "models"


def file_of(lake: Path, sha256: str) -> Path:
    """The file of a model."""
    return models_of(lake) / f"{sha256}{SUFFIX}"


def last_release(lake: Path) -> Release | None:
    """Which model is to be published; None: none was released yet. BadInput when the note cannot be understood."""
    note = models_of(lake) / "released.json"
    try:
        said = json.loads(note.read_bytes())
        return Release(said["sha256"], said["as_of"], said["released_at"], tuple(said["shortfalls"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{note} is damaged ({error!r}); train again, or remove it to publish without a model."
        ) from error


def released(lake: Path) -> bytes | None:
    """The model that is to be published, in the very bytes that were released; None: none was released yet.

    BadInput when the file is gone or has other bytes.
    """
    release = last_release(lake)
    return None if release is None else _read(file_of(lake, release.sha256), release.sha256)


def _read(file: Path, sha256: str) -> bytes:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise BadInput(f"the released model {file} cannot be read ({error}); put it back, or train again.") from error
    if name_of(data) != sha256:
        raise BadInput(
            f"the model file {file} has other bytes than were released (its SHA-256 is {name_of(data)}); "
            "put it back, or train again."
        )
    return data


def release(lake: Path, data: bytes, *, as_of: datetime, now: datetime, shortfalls: tuple[str, ...] = ()) -> Release:
    """Makes `data`, an encoded model, the one that is published next."""
    this = Release(name_of(data), as_of.isoformat(), now.isoformat(), shortfalls)
    _replace(file_of(lake, this.sha256), data)
    _replace(models_of(lake) / "released.json", (json.dumps(asdict(this), indent=1) + "\n").encode())
    return this


def _replace(path: Path, data: bytes) -> None:
    """The file appears whole or not at all, also when the machine dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_bytes(path, data)
