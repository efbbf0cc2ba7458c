"""What was tried and chosen, for a user at a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table

from batch.tuning.tuned import Tuned


def tuned_table(tuned: Tuned) -> RenderableType:
    """One row a setting that was tried, what was chosen marked; the notes under it."""
    table = Table("setting", "criterion", "value", "chosen", box=None, title=f"constants as of {tuned.as_of}")
    for one in tuned.tried:
        told = ", ".join(f"{name} {value:g}" for name, value in one.settings.items())
        chosen = all(tuned.chosen.get(name) == value for name, value in one.settings.items())
        table.add_row(told, one.criterion, f"{one.value:.4f}", "yes" if chosen else "")
    return Group(table, *tuned.notes)
