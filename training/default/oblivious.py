"""CatBoost's oblivious trees as arrays: comparisons and a table of leaves."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catboost import CatBoostClassifier
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ObliviousTrees:
    """Trees in which all nodes of a level share one comparison (Prokhorenkova et al., 2018, "CatBoost").

    Attributes
    ----------
    columns : ndarray of int32, shape (depth, trees)
        Column of the matrix that each level compares.
    borders : ndarray of float32, shape (depth, trees)
        Level d adds 2^d to the leaf's number where the value is above the border.
    leaves : ndarray of float64, shape (trees, 2^depth)
        What a leaf adds to the logit.
    bias : float
        What all trees start from.
    """

    columns: NDArray[np.int32]
    borders: NDArray[np.float32]
    leaves: NDArray[np.float64]
    bias: float

    def __len__(self) -> int:
        """Return the number of trees."""
        return int(self.columns.shape[1])

    @property
    def comparisons(self) -> int:
        """Number of comparisons per row."""
        return int(self.columns.size)

    def times(self, weight: float) -> ObliviousTrees:
        """Return the trees with leaves and bias multiplied; none if the weight is 0."""
        if not weight:
            return ObliviousTrees(self.columns[:, :0], self.borders[:, :0], self.leaves[:0], 0.0)
        return ObliviousTrees(self.columns, self.borders, weight * self.leaves, weight * self.bias)

    def predict(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return logits, shape (n,)."""
        logits = np.full(len(matrix), self.bias)
        for columns, borders, leaves in zip(self.columns.T, self.borders.T, self.leaves, strict=True):
            leaf = (matrix[:, columns] > borders) @ (1 << np.arange(len(columns)))
            logits += leaves[leaf]
        return logits


def read_trees(model: CatBoostClassifier, columns: NDArray[np.int64]) -> ObliviousTrees:
    """Read the trees of a fitted model.

    Parameters
    ----------
    model : CatBoostClassifier
        Fitted on float features alone.
    columns : ndarray of int64, shape (features of the model,)
        Columns of the matrix that the model's features are.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "trees.json")
        model.save_model(str(path), format="json")
        content = json.loads(path.read_text())
    trees: list[dict[str, Any]] = content["oblivious_trees"]
    scale, (bias,) = content["scale_and_bias"]
    depth = max([len(tree["splits"]) for tree in trees], default=1)
    # A level that a tree does not have compares with infinity, which nothing is above.
    positions, borders = np.zeros((depth, len(trees)), np.int32), np.full((depth, len(trees)), np.inf, np.float32)
    leaves = np.zeros((len(trees), 1 << depth))
    for number, tree in enumerate(trees):
        for level, split in enumerate(tree["splits"]):
            positions[level, number] = columns[split["float_feature_index"]]
            borders[level, number] = split["border"]
        leaves[number, : len(tree["leaf_values"])] = np.array(tree["leaf_values"]) * scale
    return ObliviousTrees(positions, borders, leaves, float(bias))


def no_trees(share: float) -> ObliviousTrees:
    """Return trees that predict the share of leavers for every row."""
    bias = float(np.log(share / (1 - share)))
    return ObliviousTrees(np.zeros((1, 0), np.int32), np.zeros((1, 0), np.float32), np.zeros((0, 2)), bias)


def average(bag: Sequence[ObliviousTrees]) -> ObliviousTrees:
    """Return the trees whose sum is the mean of the bag's."""
    return join(bag).times(1 / len(bag))


def join(several: Sequence[ObliviousTrees]) -> ObliviousTrees:
    """Return all trees together: their sum is the sum of the sums."""
    depth = max(trees.columns.shape[0] for trees in several)
    padded = [_pad(trees, depth) for trees in several]
    return ObliviousTrees(
        np.concatenate([trees.columns for trees in padded], axis=1),
        np.concatenate([trees.borders for trees in padded], axis=1),
        np.concatenate([trees.leaves for trees in padded]),
        float(sum(trees.bias for trees in padded)),
    )


def _pad(trees: ObliviousTrees, depth: int) -> ObliviousTrees:
    missing = depth - trees.columns.shape[0]
    leaves = np.zeros((len(trees), 1 << depth))
    leaves[:, : trees.leaves.shape[1]] = trees.leaves
    return ObliviousTrees(
        np.pad(trees.columns, ((0, missing), (0, 0))),
        np.pad(trees.borders, ((0, missing), (0, 0)), constant_values=np.inf),
        leaves,
        trees.bias,
    )


def to_fixed_point(leaves: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round leaves to multiples of a power of two, fine enough that every sum over trees is exact in float32.

    The sum then does not depend on the order of additions: it is the same to the last bit for one row, in a batch, and
    in either engine.

    Parameters
    ----------
    leaves : ndarray of float64, shape (trees, leaves)
        In nats.
    """
    largest = float(np.abs(leaves).max(axis=1).sum())
    step = 2.0 ** np.ceil(np.log2(max(largest, 2.0**-20) / 2**23))
    return np.asarray(np.round(leaves / step) * step, dtype=np.float32)
