"""What was chosen for a lake: `<lake>/tuned.json`. Every batch on the lake goes by it, unless the environment says otherwise."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Group, RenderableType
from rich.table import Table

from batch.settings import BatchSettings
from features.errors import BadInput
from lake.drafts import replace_bytes

NAME = "tuned.json"


@dataclass(frozen=True, slots=True)
class Tried:
    """One setting that was evaluated."""

    settings: dict[str, float]
    criterion: str
    value: float


@dataclass(frozen=True, slots=True)
class Tuned:
    """What was chosen, and out of what."""

    as_of: str
    """RFC 3339: what was known by then was looked at."""
    chosen: dict[str, float]
    """Field of BatchSettings → value."""
    tried: tuple[Tried, ...]
    notes: tuple[str, ...] = ()
    """What could not be chosen, one sentence each."""


def write_tuned(lake: Path, tuned: Tuned) -> None:
    """Replaces the lake's file in one step."""
    replace_bytes(lake / NAME, (json.dumps(asdict(tuned), indent=1) + "\n").encode())


def read_tuned(lake: Path) -> Tuned | None:
    """None: nothing was chosen yet. BadInput when the file cannot be understood."""
    try:
        read = json.loads((lake / NAME).read_bytes())
        return Tuned(
            str(read["as_of"]), dict(read["chosen"]), tuple(Tried(**one) for one in read["tried"]), tuple(read["notes"])
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{lake / NAME} is damaged ({error!r}); run `rex tune` again, or remove it.") from error


def settings_of(lake: Path, **given: Any) -> BatchSettings:
    """The settings of a batch on `lake`: `given`, else the environment's, else what was chosen for it, else the defaults.

    BadInput when what was chosen is out of a setting's bounds.
    """
    tuned = read_tuned(lake)
    if tuned is None:
        return BatchSettings(**given)
    stated = BatchSettings(**given).model_fields_set
    chosen = {name: value for name, value in tuned.chosen.items() if name not in stated}
    try:
        return BatchSettings(**{**given, **chosen})
    except ValidationError as error:
        raise BadInput(f"{lake / NAME} does not fit this code ({error}); run `rex tune` again.") from error


def is_due(lake: Path, as_of: datetime, cadence_d: float) -> bool:
    """Whether the lake's constants are older than `cadence_d` days at `as_of`, or were never chosen."""
    tuned = read_tuned(lake)
    return tuned is None or (as_of - datetime.fromisoformat(tuned.as_of)).total_seconds() >= cadence_d * 86_400


def tuned_table(tuned: Tuned) -> RenderableType:
    """One row a setting that was tried, what was chosen marked; the notes under it."""
    table = Table("setting", "criterion", "value", "chosen", box=None, title=f"constants as of {tuned.as_of}")
    for one in tuned.tried:
        setting = ", ".join(f"{name} {value:g}" for name, value in one.settings.items())
        chosen = all(tuned.chosen.get(name) == value for name, value in one.settings.items())
        table.add_row(setting, one.criterion, f"{one.value:.4f}", "yes" if chosen else "")
    return Group(table, *tuned.notes)
