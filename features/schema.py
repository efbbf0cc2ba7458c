"""How a dataset is declared: columns, grain, partitioning and checks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import pyarrow as pa

from features.errors import BadInput

ID = pa.string()
"""An opaque id: UTF-8, 1 to 128 bytes, no control characters, none of NOT_IDS."""
TS = pa.timestamp("us", tz="UTC")
"""An instant: UTC, microseconds."""
MAX_ID_BYTES = 128
NOT_IDS = (".", "..")
"""No URL can name these: clients and proxies resolve them before the service sees the path."""
NO_DATES = "_no_dates"
"""Column that a check of a raw dataset may use beside the declared ones: true in every row of an undated dataset."""
WHITE_SPACE = " \t\r\n"
"""What is trimmed off the elements of a list."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `required` columns must be present and not null; others may be missing altogether."""

    name: str
    type: pa.DataType
    meaning: str
    required: bool = True


def optional(name: str, type: pa.DataType, meaning: str) -> Column:
    """A column that is not required."""
    return Column(name, type, meaning, required=False)


@dataclass(frozen=True, slots=True)
class Check:
    """A named predicate that holds for every good row.

    `sql` is a boolean expression over the dataset's columns (and NO_DATES). Checks of raw datasets mean the same in Spark and in DuckDB
    (which `lake.dialect` teaches some functions of Spark's): rows that fail (or for which the predicate is null) are
    quarantined with `name` as the reason. Checks of derived datasets are DuckDB SQL and run on what a job wrote: a failing
    `error` check stops the run, a `warn` check is reported.
    """

    name: str
    sql: str
    level: Literal["error", "warn"] = "error"


@dataclass(frozen=True, slots=True)
class Dataset:
    """One Parquet dataset: `<lake>/<layer>/<name>/[<partition>=…/]*.parquet`."""

    name: str
    layer: Literal["raw", "features"]
    grain: tuple[str, ...]
    meaning: str
    columns: tuple[Column, ...]
    partition_by: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    optional: bool = False
    """Whether a lake may lack the whole dataset (raw layer only)."""
    times: tuple[str, ...] = ()
    """When it happened, first, and when a row came to be known, last (null: as the one before). Raw layer; none: plans, known all along."""
    may_be_planned: bool = False
    """Whether the first of `times` may lie ahead, in a row that says since when that is known (raw layer)."""
    may_be_undated: bool = False
    """Whether it may be unknown of all rows when they happened: then each states when it was received (raw layer; features/undated.py)."""
    earliest: datetime | None = None
    """No time of a good row lies before it: what does comes from a clock that was never set, or was misread (raw layer)."""
    max_bad_share: float = 0.05
    """Share of rows that may be quarantined before a run stops; 5 % is noise of a client, more is a broken producer."""
    may_end: bool = False
    """Whether no rows may follow some (features layer only). Elsewhere a run stops: a producer or a job has failed."""
    version: int = 1
    """Raised when a column comes to mean something else (features layer only): partitions of other versions count as not written.
    Those with other columns do so anyway."""
    names: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(column.name for column in self.columns))
        unknown = set(self.grain) - set(self.names)
        if unknown:
            raise ValueError(f"dataset {self.name}: grain names unknown columns {sorted(unknown)}")
        if self.earliest is not None:
            moment = f"TIMESTAMP '{self.earliest:%Y-%m-%d %H:%M:%S}'"
            bounded = [column.name for column in self.columns if column.type == TS]
            plausible = (Check(f"implausible_{c}", f"{c} IS NULL OR {c} >= {moment}") for c in bounded)
            object.__setattr__(self, "checks", (*plausible, *self.checks))

    def arrow_schema(self) -> pa.Schema:
        """Arrow schema in declared column order; partition columns included."""
        return pa.schema([pa.field(c.name, c.type, nullable=self.may_be_null(c)) for c in self.columns])

    def may_be_null(self, column: Column) -> bool:
        """Whether rows may lack the value: `required` ones must all the same be there as columns where a dataset may be undated."""
        return not column.required or (self.may_be_undated and column.name == self.times[0])

    @property
    def past_times(self) -> tuple[str, ...]:
        """Those of `times`, filled, that cannot lie in the future."""
        return self.times[1:] if self.may_be_planned else self.times

    def filled_times(self) -> dict[str, tuple[str, ...]]:
        """Each time but the first → what it is taken from, the first that is there: itself, those before it, the time of receipt."""
        return {
            time: (*reversed(self.times[: number + 1]), *self.times[number + 1 :][-1:])
            for number, time in enumerate(self.times)
            if number
        }

    def column(self, name: str) -> Column:
        """The declared column `name`; KeyError when there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"dataset {self.name} has no column {name!r}; it has {', '.join(self.names)}")


def by_name(where: str, names: Iterable[str], advice: str = "give each a name of its own") -> dict[str, str]:
    """Name without case → the name as it is. BadInput for two columns that differ in nothing else: no engine tells them apart."""
    found: dict[str, str] = {}
    for name in names:
        if (other := found.get(name.casefold())) is not None:
            raise BadInput(f"{where}: two columns are called {other!r} and {name!r} (case does not count); {advice}.")
        found[name.casefold()] = name
    return found
