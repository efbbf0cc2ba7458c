"""The constants that decide feature values, under one version: what was made with others is computed again or refused, never mixed.

Constants of a single job, such as how many neighbours it keeps, are that job's code: who changes one raises its dataset's version.
"""

from __future__ import annotations

import json

from batch.settings import BatchSettings
from features.derived_datasets import WINDOWS_D
from features.formulas import GAP_MOST_H, RECENCY_HALF_LIFE_H, RECENT_READS
from features.interactions import INTERACTIONS
from features.snapshot import digest

OTHER = ("training_", "tuning_", "spark_", "shuffle_", "driver_")
"""Settings whose names begin so decide which examples are made, or how a batch runs, and no feature."""
FIXED = (
    WINDOWS_D,
    (GAP_MOST_H, RECENCY_HALF_LIFE_H, RECENT_READS),
    [(one.name, one.strength, one.implies, one.counter, one.amount) for one in INTERACTIONS],
)


def constants_version(settings: BatchSettings) -> str:
    """16 hex digits that are equal where all the constants are."""
    chosen = {name: value for name, value in settings.model_dump().items() if not name.startswith(OTHER)}
    return digest(json.dumps([chosen, FIXED], sort_keys=True).encode())[:16]
