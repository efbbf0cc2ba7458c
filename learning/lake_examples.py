"""The dataset `training_examples` of a lake, in the form in which learning takes examples; the one place that translates."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.derived_datasets import SAMPLING_RULE, TRAINING_EXAMPLES
from features.errors import BadInput
from features.partitions import constants_of, partition_files
from learning.examples import SCHEMA, WEIGHT, Examples, examples_of
from online.rankers.models.model import POSITION

SHARE = "sampled"
NOT_LEARNED = {"as_of", "event_id", "features_as_of", "source", "propensity", SHARE}
"""Columns of the dataset that say where an example comes from."""
SITTING_MIN = 30
"""Minutes of one user that stand for a request where none is noted: the pause after which a visit is commonly called a new one."""


@dataclass(frozen=True, slots=True)
class LakeExamples:
    """Examples, and the rules by which they were chosen, in words."""

    examples: Examples
    sampling: str
    constants: str = ""
    """Version of the constants that their features were computed with; empty: unknown."""


def read_lake_examples(lake: Path, as_of: datetime) -> LakeExamples:
    """What `training_examples` wrote at `as_of`. BadInput when it did not, or nothing can be learned from it."""
    remedy = "run `rex train` for this as_of"
    files = partition_files(lake, TRAINING_EXAMPLES.name, as_of, remedy)
    try:
        table = pa.concat_tables(pq.read_table(path, partitioning=None) for path in files)
    except (OSError, pa.ArrowInvalid) as error:
        raise BadInput(f"no training examples can be read at {files[0].parent} ({error}); {remedy}.") from error
    constants = "".join(constants_of(lake, [TRAINING_EXAMPLES.name], as_of))
    return LakeExamples(examples_of(translated(table)), sampling_rule(table), constants)


def translated(table: pa.Table) -> pa.Table:
    """Columns as `learning.examples.SCHEMA` names them; those it does not know are left for it to refuse.

    An unknown author is one of their own kind, an unknown position is missing (NaN), and what one user was shown within
    SITTING_MIN minutes by no request that is known counts as one request.
    """
    table = table.drop_columns([name for name in table.column_names if name in NOT_LEARNED])
    filled = {"request_id": _requests, "author_id": _authors, POSITION: _positions, WEIGHT: _weights}
    for name, fill in filled.items():
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, fill(table))
    return table


def sampling_rule(table: pa.Table) -> str:
    """How the examples were chosen, for the model card."""
    made = WEIGHT in table.column_names and not pc.all(pc.equal(table[WEIGHT], 1.0)).as_py()
    rule = SAMPLING_RULE if made else "Every row is a story that was shown; no negatives were sampled."
    share = pc.min(table[SHARE]).as_py() if SHARE in table.column_names else None
    part = "" if share is None or share == 1.0 else f" Of the requests, {share:.1%} were taken, each of them whole."
    return rule + part


def _requests(table: pa.Table) -> pa.ChunkedArray:
    sitting = pc.floor_temporal(table["shown_at"], SITTING_MIN, "minute").cast(pa.int64()).cast(pa.string())
    made = pc.binary_join_element_wise("at", table["user_id"], sitting, " ")
    return pc.coalesce(table["request_id"], made)


def _authors(table: pa.Table) -> pa.ChunkedArray:
    return pc.fill_null(table["author_id"], "")


def _positions(table: pa.Table) -> pa.ChunkedArray:
    return pc.fill_null(table[POSITION].cast(pa.float32()), np.float32(np.nan))


def _weights(table: pa.Table) -> pa.ChunkedArray:
    return table[WEIGHT].cast(pa.float64())


assert set(TRAINING_EXAMPLES.names) - NOT_LEARNED == {*SCHEMA.names, WEIGHT}, (
    "the dataset and learning differ in columns"
)
