"""Every Parquet dataset of Rex, by name. Declared in raw_datasets.py (what comes in) and derived_datasets.py (what jobs write)."""

from __future__ import annotations

from features.derived_datasets import DERIVED
from features.raw_datasets import RAW
from features.schema import Dataset

ALL: dict[str, Dataset] = {dataset.name: dataset for dataset in (*RAW, *DERIVED)}


def dataset(name: str) -> Dataset:
    """The dataset called `name`; KeyError with the known names when there is none."""
    try:
        return ALL[name]
    except KeyError:
        raise KeyError(f"no dataset {name!r}; known: {', '.join(ALL)}") from None
