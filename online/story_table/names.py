"""Authors, publications, topics or languages: position ↔ id, with the entity's features."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np
import pyarrow as pa

from features.arrays import F32, I32, Hashes
from features.formulas import scatter
from features.keys import hash64_many
from features.registry import registered
from features.snapshot import ABSENT
from online.story_table.lookup import HashIndex

SPARE_NAMES = 1024
"""Places kept for new names at least: an update then moves no feature column, and 4 kB a feature is nothing."""


class Names:
    """Immutable; `updated` gives the next one, in which every index still means the same name."""

    def __init__(self, entity: str, table: pa.Table) -> None:
        self._known: pa.Array = table["id"].combine_chunks()
        self._new: tuple[str, ...] = ()
        self.by_hash = HashIndex(table["hash"].to_numpy())
        defaults = {f.name: f.default for f in registered(entity)}
        # A newcomer's features are the defaults, so that the room behind the known ones is filled in advance.
        self._columns = {
            name: np.append(table[name].to_numpy(), np.full(max(SPARE_NAMES, len(table)), default, np.float32))
            for name, default in defaults.items()
        }
        self.features: dict[str, F32] = self._views()
        """float32[k + 1] each: the last value is the default, which index -1 finds."""

    def __len__(self) -> int:
        return len(self._known) + len(self._new)

    def id(self, index: int) -> str | None:
        """The id at `index`; None for -1."""
        if index == ABSENT:
            return None
        known = len(self._known)
        return self._known[index].as_py() if index < known else self._new[index - known]

    @property
    def ids(self) -> list[str]:
        """All of them, by index; for the few languages, never for authors."""
        return [*self._known.to_pylist(), *self._new]

    def find(self, idents: Sequence[str | None]) -> I32:
        """int32[m]: the index of each id; -1 for None and for unknown ones."""
        found = self.by_hash.find(hash64_many([ident or "" for ident in idents]))
        return np.where(np.array([ident is None for ident in idents], bool), np.int32(ABSENT), found)

    def updated(self, idents: Iterable[str | None]) -> Self:
        """With the unknown ones among `idents` behind the known ones, in order of appearance."""
        wanted = list(dict.fromkeys(ident for ident in idents if ident is not None))
        hashes = hash64_many(wanted)
        new = np.flatnonzero(self.by_hash.find(hashes) < 0)
        if not len(new):
            return self
        made = copy.copy(self)
        made._new = (*self._new, *(wanted[i] for i in new))
        made.by_hash = self.by_hash.extended(hashes[new], np.arange(len(self), len(made), dtype=np.int32))
        made._columns = {name: _with_spare(column, len(made) + 1) for name, column in self._columns.items()}
        made.features = made._views()
        return made

    def scatter(self, hashes: Hashes, values: F32 | float) -> F32:
        """float32[k + 1] of zeros with `values` at the known ones of `hashes`; the last entry stands for absent."""
        return scatter(len(self), self.by_hash.find(hashes), values)

    def _views(self) -> dict[str, F32]:
        return {name: column[: len(self) + 1] for name, column in self._columns.items()}


def _with_spare(column: F32, needed: int) -> F32:
    """At least `needed` long; what is added is the default, the column's last value."""
    return column if needed <= len(column) else np.append(column, np.full(needed, column[-1], np.float32))
