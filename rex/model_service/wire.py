"""What goes over the wire between a feed and the model service: Arrow IPC streams."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from features.arrays import F32, F64
from features.errors import BadInput
from online.rankers.models.outcomes import NAMES

MEDIA_TYPE = "application/vnd.apache.arrow.stream"
VALUE = "value"
MODEL_HEADER = "X-Rex-Model"
"""SHA-256 of the model that scored."""


def pack(columns: Mapping[str, np.ndarray]) -> bytes:
    """One record batch of columns of equal length."""
    batch = pa.RecordBatch.from_arrays([pa.array(column) for column in columns.values()], list(columns))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def unpack_features(data: bytes, wanted: tuple[str, ...]) -> dict[str, F32]:
    """Feature → float32[n]; null: NaN. BadInput when `data` is no stream, or not of float32 columns named as `wanted`."""
    table = _table(data)
    if set(table.column_names) != set(wanted) or len(table.column_names) != len(wanted):
        missing = sorted(set(wanted) - set(table.column_names))
        more = sorted(set(table.column_names) - set(wanted))
        raise BadInput(f"the features are not the model's: missing {missing}, not known {more}; send each once.")
    wrong = [field.name for field in table.schema if field.type != pa.float32()]
    if wrong:
        raise BadInput(f"the columns {wrong} are not float32; send features as float32.")
    return {name: table[name].to_numpy() for name in wanted}


def unpack_probabilities(data: bytes, n: int) -> dict[str, F64]:
    """Outcome → float64[n]. BadInput when `data` is anything else."""
    table = _table(data)
    absent = [name for name in NAMES if name not in table.column_names or table[name].type != pa.float64()]
    if absent or table.num_rows != n:
        raise BadInput(
            f"the model service answered {table.num_rows} rows for {n}, without {absent}; check its version."
        )
    return {name: table[name].to_numpy() for name in NAMES}


def _table(data: bytes) -> pa.Table:
    try:
        return pa.ipc.open_stream(data).read_all()
    except pa.ArrowInvalid as error:
        raise BadInput(f"the body is no Arrow IPC stream ({error}); send one, with media type {MEDIA_TYPE}.") from error
