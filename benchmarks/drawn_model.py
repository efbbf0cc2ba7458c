"""A model as large as training makes one, drawn with NumPy: what is measured with it is time, not relevance."""

from __future__ import annotations

import numpy as np

from features.packing import name_of
from learning.examples import FEATURE_NAMES
from online.rankers.models.model import IDENTITY, POSITION, Model, OutcomeModel
from online.rankers.models.model_file import decode, encode
from online.rankers.models.outcomes import NAMES, WEIGHTS
from online.rankers.models.trees import LEAF, Forest

TREES, DEPTH = 120, 5
"""The most that training makes: 120 trees of 32 leaves for each outcome."""


def drawn_model(seed: int = 0) -> Model:
    """Warm, as a serving process holds it. Deterministic."""
    rng = np.random.default_rng(seed)
    outcomes = tuple(OutcomeModel(name, _forest(rng), IDENTITY) for name in NAMES)
    data = encode(Model((POSITION, *FEATURE_NAMES), outcomes, WEIGHTS))
    return decode(data, name_of(data))


def _forest(rng: np.random.Generator) -> Forest:
    """Complete trees, by level: the children of node i are 2 i + 1 and 2 i + 2."""
    inner, nodes = 2**DEPTH - 1, 2 ** (DEPTH + 1) - 1
    m, at = TREES * nodes, np.arange(TREES * nodes)
    is_inner = at % nodes < inner
    return Forest(
        baseline=-2.0,
        roots=np.arange(0, m, nodes, dtype=np.int32),
        feature=np.where(is_inner, rng.integers(1, 1 + len(FEATURE_NAMES), m), LEAF).astype(np.int32),
        threshold=rng.random(m),
        missing_left=np.ones(m, np.uint8),
        left=np.where(is_inner, at - at % nodes + 2 * (at % nodes) + 1, at).astype(np.int32),
        value=np.where(is_inner, 0.0, rng.normal(0, 0.05, m)),
        cover=np.ones(m),
    )
