"""The columns of a story table, with room behind the rows, so that a newcomer does not move half a million others."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.registry import FEATURES
from features.snapshot import ABSENT

SPARE_ROWS = 4096
"""Rows of room at least. A quarter of the table is kept if that is more; memory that is never written costs nothing."""

AnyArray = NDArray[Any]


class StoryColumns:
    """Views of the first n rows share these arrays. Rows that some view shows are never written again.

    Rows come first in every array: `vectors` is [n, factors] here, laid out by factor.
    """

    def __init__(self, columns: Mapping[str, AnyArray]) -> None:
        self.filled = len(columns["hashes"])
        """Rows that some view shows."""
        self.new_ids: list[str] = []
        """story_id of every row behind the snapshot's."""
        self.new_titles: list[str | None] = []
        self._lock = threading.Lock()
        self._columns = {name: _with_spare_rows(column, self.filled) for name, column in columns.items()}

    def view(self, n: int) -> dict[str, AnyArray]:
        """Every column, [n] or [n, …]."""
        return {name: column[:n] for name, column in self._columns.items()}

    def fields(self, n: int) -> dict[str, Any]:
        """The fields of a StoryTable of n stories that are columns."""
        columns = self.view(n)
        static = {feature.name: columns.pop(feature.name) for feature in FEATURES if feature.entity != "user_story"}
        return {**columns, "vectors": columns["vectors"].T, "static": static}

    def append(
        self, n: int, rows: Mapping[str, AnyArray], story_ids: Sequence[str], titles: Sequence[str | None]
    ) -> StoryColumns:
        """These columns with `rows` behind the first n; a copy of them if another view has updated from those n already.

        ValueError when a column has no rows: what would stand there is whatever the memory held.
        """
        if missing := sorted(self._columns.keys() - rows.keys()):
            raise ValueError(f"new rows of the story table lack the columns {', '.join(missing)}; see new_rows.py")
        with self._lock:
            kept = len(self.new_ids) - (self.filled - n)
            target = self if self.filled == n else self._first(n, kept)
            target._write(n, rows)
            target.new_ids.extend(story_ids)
            target.new_titles.extend(titles)
            return target

    def _first(self, n: int, new: int) -> StoryColumns:
        made = StoryColumns(self.view(n))
        made.new_ids, made.new_titles = self.new_ids[:new], self.new_titles[:new]
        return made

    def _write(self, n: int, rows: Mapping[str, AnyArray]) -> None:
        end = n + len(rows["hashes"])
        for name, values in rows.items():
            column = self._columns[name]
            if end > len(column):
                column = _with_spare_rows(column[:n], end)
            if column.ndim == 2 and column.shape[1] < values.shape[1]:
                column = _wider(column, values.shape[1])
            column[n:end, ...] = values if column.ndim == 1 else _wider(values, column.shape[1])
            self._columns[name] = column
        self.filled = end


def _with_spare_rows(column: AnyArray, rows: int) -> AnyArray:
    """A copy with room for `rows` and more, laid out as it was."""
    capacity = rows + max(SPARE_ROWS, rows // 4)
    out = np.empty_like(column, shape=(capacity, *column.shape[1:]))
    out[: len(column)] = column
    return out


def _wider(column: AnyArray, width: int) -> AnyArray:
    """[n, w] → [n, width], by column, ABSENT where it was not."""
    if column.shape[1] == width:
        return column
    out = np.full((len(column), width), ABSENT, column.dtype, order="F")
    out[:, : column.shape[1]] = column
    return out
