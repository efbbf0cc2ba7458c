"""The training set as learning sees it: one row per story that was shown (or sampled), checked before anything is fitted.

It is cut by time: learn, choose, calibrate, and evaluate, each on later days than the one before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.arrays import F32, F64, I32, I64, Bools
from features.errors import BadInput
from features.registry import FEATURES
from features.times import DAY_US
from online.rankers.models.model import POSITION
from online.rankers.models.outcomes import NAMES

FEATURE_NAMES = tuple(feature.name for feature in FEATURES)
SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("story_id", pa.string()),
        ("request_id", pa.string()),  # rows of one request are compared with each other
        ("shown_at", pa.timestamp("us", tz="UTC")),
        ("author_id", pa.string()),
        (POSITION, pa.float32()),
        *((name, pa.float32()) for name in FEATURE_NAMES),
        *((name, pa.bool_()) for name in NAMES),
    ]
)
"""What a training set has to have; `weight` (float) may be there too, for negatives that stand for several."""
WEIGHT = "weight"
MIN_EXAMPLES = 1000
"""Fewer rows than this teach noise: an outcome with a rate of 3% would have 30 positives."""
_SHARE = 1 / 7
"""Of the days, each for choosing, calibrating and evaluating; of a week one day, of four weeks four."""
_MAX_DAYS = 7
"""A week holds every weekday; more would only age what is learned from."""
_MIN_ROWS = 100
"""A slice with fewer rows can neither choose nor calibrate nor evaluate."""


@dataclass(frozen=True, slots=True)
class Examples:
    """n rows ordered by (start of the request, request, story)."""

    inputs: tuple[str, ...]
    """Names of the columns of `x`: position and features, without those that never vary."""
    x: F32
    """float32[n, k]; NaN: missing."""
    labels: dict[str, Bools]
    weight: F64
    request: I32
    """0 … r - 1, ascending."""
    author: I32
    shown_at: I64
    """µs; start of the row's request, ascending."""
    notes: tuple[str, ...] = field(default=())
    """What was left out, one sentence each; the model card repeats them."""
    constants: Mapping[str, float] = field(default_factory=dict)
    """The columns that never vary, and their value."""

    def __len__(self) -> int:
        return len(self.x)

    def column(self, name: str) -> F32:
        """float32[n] of one input, also of one that was left out because it never varies."""
        if name in self.inputs:
            return self.x[:, self.inputs.index(name)]
        return np.full(len(self), self.constants[name], np.float32)

    def part(self, rows: slice) -> Examples:
        """Consecutive rows."""
        labels = {name: column[rows] for name, column in self.labels.items()}
        first = self.request[rows][:1].sum()
        return Examples(
            self.inputs,
            self.x[rows],
            labels,
            self.weight[rows],
            self.request[rows] - first,
            self.author[rows],
            self.shown_at[rows],
            self.notes,
            self.constants,
        )


def examples_of(table: pa.Table) -> Examples:
    """The table, checked and ordered. BadInput for too few rows, wrong columns, values that are none, one class only."""
    table = _fitting(table)
    if table.num_rows < MIN_EXAMPLES:
        raise BadInput(
            f"the training set has {table.num_rows} rows; at least {MIN_EXAMPLES} are needed, so log more impressions."
        )
    table = _ordered(table)
    labels = {name: np.asarray(table[name].combine_chunks()) for name in NAMES}
    if not any(0 < label.sum() < len(label) for label in labels.values()):
        raise BadInput(
            f"every row of the training set has the same {', '.join(NAMES)}; both classes of one are needed."
        )
    x = np.stack([np.asarray(table[name].combine_chunks()) for name in (POSITION, *FEATURE_NAMES)], axis=1)
    inputs, x, constants = _varying((POSITION, *FEATURE_NAMES), x)
    return Examples(
        inputs=inputs,
        x=x,
        labels=labels,
        weight=_weights(table),
        request=_codes(table["request_id"]),
        author=_codes(table["author_id"]),
        shown_at=np.asarray(table["_start"].combine_chunks()),
        notes=tuple(f"{name} has one value in all rows and was left out" for name in constants),
        constants=constants,
    )


def _fitting(table: pa.Table) -> pa.Table:
    """The contract's columns in its types; BadInput says whether the table is older or newer than the registry."""
    missing = [name for name in SCHEMA.names if name not in table.column_names]
    if missing:
        raise BadInput(
            f"the training set lacks {missing}, which this code has: it is older than the registry; make it again."
        )
    unknown = [name for name in table.column_names if name not in SCHEMA.names and name != WEIGHT]
    if unknown:
        raise BadInput(
            f"the training set has {unknown}, which this code does not know: it is newer than the registry; "
            "use the code that made it, or make it again."
        )
    schema = SCHEMA.append(pa.field(WEIGHT, pa.float64())) if WEIGHT in table.column_names else SCHEMA
    try:
        table = table.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise BadInput(f"a column of the training set has the wrong type ({error}); make it again.") from error
    known = [name for name in schema.names if name not in FEATURE_NAMES and table[name].null_count]
    if known:
        raise BadInput(f"the training set has nulls in {known}; only features may be missing.")
    return table


def _ordered(table: pa.Table) -> pa.Table:
    """By the start of the request, so that no request is torn by a cut in time."""
    starts = table.group_by("request_id").aggregate([("shown_at", "min")])
    at = pc.index_in(table["request_id"], starts["request_id"].combine_chunks())
    start = starts["shown_at_min"].take(at).cast(pa.int64())
    keys = [("_start", "ascending"), ("request_id", "ascending"), ("story_id", "ascending")]
    return table.append_column("_start", start).sort_by(keys)


def _codes(column: pa.ChunkedArray) -> I32:
    """int32[n]: 0 for the first value met, 1 for the next new one, and so on."""
    return np.asarray(column.combine_chunks().dictionary_encode().indices).astype(np.int32)


def _weights(table: pa.Table) -> F64:
    if WEIGHT not in table.column_names:
        return np.ones(table.num_rows)
    weight = np.asarray(table[WEIGHT].combine_chunks())
    if not (np.isfinite(weight).all() and (weight > 0).all()):
        raise BadInput("the training set has weights that are not positive numbers; a row counts once or more.")
    return weight


def _varying(names: tuple[str, ...], x: F32) -> tuple[tuple[str, ...], F32, dict[str, float]]:
    """Names and columns of what varies; name and value of what does not."""
    infinite = [name for name, column in zip(names, x.T, strict=True) if np.isinf(column).any()]
    if infinite:
        raise BadInput(f"the training set has infinite values in {infinite}; fix the job that computes them.")
    same = [bool((column == column[0]).all() or np.isnan(column).all()) for column in x.T]
    constant = {name: float(column[0]) for name, column, flat in zip(names, x.T, same, strict=True) if flat}
    if len(constant) == len(names):
        raise BadInput("every feature of the training set is constant; nothing can be learned from it.")
    kept = tuple(name for name in names if name not in constant)
    return kept, np.ascontiguousarray(x[:, ~np.array(same)]), constant


@dataclass(frozen=True, slots=True)
class Slices:
    """Consecutive rows; together all of them."""

    fit: slice
    validation: slice
    calibration: slice
    held_out: slice

    @property
    def learned(self) -> slice:
        """What the trees are grown on once their size is chosen."""
        return slice(self.fit.start, self.validation.stop)


def cut(examples: Examples, *, evaluated: bool = True) -> Slices:
    """By whole UTC days where there are four, else by time within the days. Not `evaluated`: the last slice is empty.

    A model that is only to be used, for example in an evaluation that evaluates it elsewhere, holds nothing out.
    """
    days = examples.shown_at // DAY_US
    unique = np.unique(days)
    tail = 3 if evaluated else 2
    if len(unique) > tail:
        length = int(np.clip(round(len(unique) * _SHARE), 1, _MAX_DAYS))
        starts = [int(np.searchsorted(days, unique[-length * k])) for k in range(tail, 0, -1)]
    else:
        times = np.quantile(examples.shown_at, [1 - _SHARE * k for k in range(tail, 0, -1)])
        starts = [int(np.searchsorted(examples.shown_at, t)) for t in times]
    edges = [0, *starts, len(examples)] if evaluated else [0, *starts, len(examples), len(examples)]
    parts = [slice(a, b) for a, b in pairwise(edges)]
    short = [p for p in parts[: tail + 1] if p.stop - p.start < _MIN_ROWS]
    if short:
        raise BadInput(
            f"cut by time, the training set's parts have {[p.stop - p.start for p in parts]} rows and need {_MIN_ROWS} "
            "each; log impressions over a longer time."
        )
    return Slices(*parts)
