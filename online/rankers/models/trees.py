"""Boosted trees as flat arrays, evaluated several times as fast as scikit-learn does, to the same bits.

scikit-learn adds tree after tree to a float64 that starts with the baseline; so does this. It compares a feature, widened
to float64, with a float64 threshold; for float32 features a threshold rounded down to float32 decides the same. A missing
value goes where the tree sends it: a second copy of the features has -inf for NaN, and nodes that send missing values to
the left look there; a comparison with NaN is false, which is right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.arrays import F32, F64, I32
from features.compiled import compiled

LEAF = -1
_NODE = np.dtype([("threshold", "<f4"), ("column", "<u2"), ("left", "<u2")], align=True)
"""Eight bytes, read at once; `left` counts from the root of the tree. Measured: 12 bytes take 1.6 times as long."""
_MAX_NODES = 1 << 16
_ROWS_AT_ONCE = 32
"""Rows walked side by side, so that the processor need not wait for one row's memory; measured: 16 to 128 are alike."""


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """Trees of one model, equal to itself alone. Nodes of a tree are consecutive, from the root down; the right child follows the left one."""

    baseline: float
    """Raw log-odds before the first tree."""
    roots: I32
    """int32[t]: the root of each tree."""
    feature: I32
    """int32[m]: column of the inputs that a node looks at; LEAF for a leaf."""
    threshold: F64
    """float64[m]: up to and including this goes left."""
    missing_left: NDArray[np.uint8]
    """uint8[m]: 1 where missing values go left."""
    left: I32
    """int32[m]: the left child; of a leaf, itself."""
    value: F64
    """float64[m]: what a leaf adds."""
    cover: F64
    """float64[m]: training rows that came through, for Shapley values."""

    def check(self, width: int) -> None:
        """ValueError unless every walk from a root over `width` inputs ends in a leaf."""
        m, at = len(self.feature), np.arange(len(self.feature))
        inner = self.feature != LEAF
        good = (
            all(len(a) == m for a in (self.threshold, self.missing_left, self.left, self.value, self.cover))
            and bool(((self.roots >= 0) & (self.roots < m)).all())
            and bool(((self.feature >= LEAF) & (self.feature < width)).all())
            and bool((self.left[inner] > at[inner]).all() and (self.left[inner] < m - 1).all())
            and bool((self.left[~inner] == at[~inner]).all())
            and bool((np.diff(self.roots) > 0).all() and (m == 0 or (len(self.roots) and self.roots[0] == 0)))
            and bool((self._tree_of(at) == self._tree_of(self.left + inner)).all())
            and bool(
                np.isfinite(self.value).all() and np.isfinite(self.baseline) and not np.isnan(self.threshold).any()
            )
        )
        if not good:
            raise ValueError("the trees are damaged")

    def _tree_of(self, nodes: NDArray[np.signedinteger[Any]]) -> NDArray[np.intp]:
        return np.searchsorted(self.roots, nodes, side="right")


def constant(log_odds: float) -> Forest:
    """A forest without trees."""
    no_int, no_float = np.zeros(0, np.int32), np.zeros(0)
    return Forest(log_odds, no_int, no_int, no_float, np.zeros(0, np.uint8), no_int, no_float, no_float)


def _walk(x, roots, depths, nodes, value, total):  # type: ignore[no-untyped-def]
    """Adds to total[i] the leaf of row i in each tree, tree after tree. Compiled; see `Walker`."""
    at = np.empty(_ROWS_AT_ONCE, np.int64)
    for start in range(0, len(x), _ROWS_AT_ONCE):
        rows = min(_ROWS_AT_ONCE, len(x) - start)
        for tree in range(len(roots)):
            root = np.int64(roots[tree])
            at[:] = root
            for _ in range(depths[tree]):
                for i in range(rows):
                    node = nodes[at[i]]
                    at[i] = root + np.int64(node.left) + (not (x[start + i, node.column] <= node.threshold))
            for i in range(rows):
                total[start + i] += value[at[i]]


def _signature() -> Any:
    from numba import float32, float64, from_dtype, int32, void

    return void(float32[:, ::1], int32[::1], int32[::1], from_dtype(_NODE)[::1], float64[::1], float64[::1])


def machine_code() -> Any:
    """`_walk`, compiled; kept on disk for the next start, if it can be."""
    return compiled(_walk, _signature(), nogil=True)


_compiled = machine_code()
"""Compiled when this module is imported (kept on disk), never on a request; lets other threads run."""


class Walker:
    """A forest made ready for `log_odds` over inputs of a fixed width."""

    def __init__(self, forest: Forest, width: int) -> None:
        inner = forest.feature != LEAF
        nodes = np.zeros(len(forest.feature), _NODE)
        nodes["threshold"] = _rounded_down(forest.threshold)
        # A leaf looks at a column without NaN, finds it ≤ inf, and so stays where it is.
        nodes["column"] = np.where(inner, forest.feature, 0) + np.where(forest.missing_left == 1, width, 0)
        sizes = np.diff(forest.roots, append=len(nodes))
        if sizes.max(initial=0) > _MAX_NODES:
            raise ValueError(f"a tree has more than {_MAX_NODES} nodes")
        nodes["left"] = forest.left - np.repeat(forest.roots, sizes)
        self._arrays = (
            forest.roots.copy(),
            _depths(forest),
            nodes,
            forest.value.copy(),
        )  # arrays of a file are read-only
        self._baseline = forest.baseline

    def log_odds(self, doubled: F32) -> F64:
        """Raw log-odds: float32[n, 2 · width] (see `doubled`) → float64[n]."""
        total = np.full(len(doubled), self._baseline)
        _compiled(doubled, *self._arrays, total)
        return total


def doubled(x: F32) -> F32:
    """float32[n, k] → float32[n, 2k]: the inputs, and the inputs with -inf for NaN."""
    out = np.concatenate((x, x), axis=1)
    filled = out[:, x.shape[1] :]
    filled[np.isnan(filled)] = -np.inf
    return out


def _rounded_down(threshold: F64) -> F32:
    """The greatest float32 that is not above each threshold: float64[m] → float32[m]."""
    with np.errstate(over="ignore"):
        near = threshold.astype(np.float32)
    return np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near)


def _depths(forest: Forest) -> I32:
    """Steps from each root to its deepest leaf: int32[t]."""
    depth = np.zeros(len(forest.feature), np.int32)
    for node in np.flatnonzero(forest.feature != LEAF):  # parents come before their children
        depth[forest.left[node]] = depth[forest.left[node] + 1] = depth[node] + 1
    return np.maximum.reduceat(depth, forest.roots).astype(np.int32) if len(forest.roots) else np.zeros(0, np.int32)
