"""Custom Keras layers of the networks; importing this module registers them for loading.

They are registered in the package ``churn``, so that `model.keras` can be loaded in safe mode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Sequence


@keras.saving.register_keras_serializable("churn")
class TailIndicators(keras.layers.Layer):  # type: ignore[misc] # Keras ships no types
    """Indicators of the tails of columns: output k is 1 if the value of column k is beyond cut k, else 0.

    These are the basis functions of MARS (Friedman, 1991, "Multivariate Adaptive Regression Splines") at degree 0. They
    model jumps for few customers in a thousand, which a smooth network can't follow.

    Parameters
    ----------
    columns : sequence of int
        Column of the matrix for each output.
    signs : sequence of {1, -1}
        1 for values below the cut, -1 for values above it.
    cuts : sequence of float
        Cuts in the units of the matrix.
    """

    def __init__(
        self,
        columns: Sequence[int],
        signs: Sequence[int],
        cuts: Sequence[float],
        **options: Any,  # noqa: ANN401  options of Keras
    ) -> None:
        super().__init__(**options)
        self.columns = [int(column) for column in columns]
        self.signs = [int(sign) for sign in signs]
        self.cuts = [float(cut) for cut in cuts]

    def build(self, input_shape: tuple[int | None, int]) -> None:
        """Create the matrix that selects the columns by a product, which is exact: each sum has one nonzero term.

        Gathering the columns takes three times as long in ONNX Runtime, which copies single numbers.
        """
        self._picker = np.zeros((input_shape[1], len(self.columns)), dtype=np.float32)
        self._picker[self.columns, np.arange(len(self.columns))] = self.signs
        super().build(input_shape)

    def call(self, matrix: Any) -> Any:  # noqa: ANN401  tensors
        """Return float32 of shape (n, cuts) for a matrix of finite numbers of shape (n, width)."""
        signs = np.array(self.signs, dtype=np.float32)
        picked = keras.ops.matmul(matrix, self._picker)
        beyond = keras.ops.less(picked, np.array(self.cuts, dtype=np.float32) * signs)
        return keras.ops.cast(beyond, "float32")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, int]:
        """Return the shape of the result of `call`."""
        return (input_shape[0], len(self.columns))

    def get_config(self) -> dict[str, Any]:
        """Return the parameters of the layer."""
        return {**super().get_config(), "columns": self.columns, "signs": self.signs, "cuts": self.cuts}


@keras.saving.register_keras_serializable("churn")
class PiecewiseLinear(keras.layers.Layer):  # type: ignore[misc] # Keras ships no types
    """Piecewise linear encoding: each bin is 0 below its lower edge, 1 above its upper edge, and linear in between.

    Gorishniy et al., 2022, "On Embeddings for Numerical Features in Tabular Deep Learning".

    Parameters
    ----------
    columns : sequence of int
        Columns of the matrix to encode.
    others : sequence of int
        Columns to append unchanged after the bins.
    lower, inverse : sequence of sequence of float
        For each encoded column, the lower edges of the bins and the reciprocals of their widths.
    """

    def __init__(
        self,
        columns: Sequence[int],
        others: Sequence[int],
        lower: Sequence[Sequence[float]],
        inverse: Sequence[Sequence[float]],
        **options: Any,  # noqa: ANN401  options of Keras
    ) -> None:
        super().__init__(**options)
        self.columns, self.others = list(columns), list(others)
        self.lower, self.inverse = [list(row) for row in lower], [list(row) for row in inverse]

    def call(self, matrix: Any) -> Any:  # noqa: ANN401  tensors
        """Return float32 of shape (n, bins + others) for a matrix of finite numbers of shape (n, width)."""
        parts = []
        if self.columns:
            values = keras.ops.expand_dims(keras.ops.take(matrix, self.columns, axis=1), -1)
            lower, inverse = np.array(self.lower, np.float32), np.array(self.inverse, np.float32)
            bins = keras.ops.clip((values - lower) * inverse, 0.0, 1.0)
            parts.append(keras.ops.reshape(bins, (-1, lower.size)))
        if self.others:
            parts.append(keras.ops.take(matrix, self.others, axis=1))
        return keras.ops.concatenate(parts, axis=1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, int]:
        """Return the shape of the result of `call`."""
        return (input_shape[0], sum(map(len, self.lower)) + len(self.others))

    def get_config(self) -> dict[str, Any]:
        """Return the parameters of the layer."""
        own = {"columns": self.columns, "others": self.others, "lower": self.lower, "inverse": self.inverse}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("churn")
class ObliviousTrees(keras.layers.Layer):  # type: ignore[misc]
    """Sum oblivious trees: each level of a tree compares one column, and the answers number a leaf.

    Comparisons and lookups are exact in any engine. Leaves should be multiples of one power of two: then their sum is
    exact too.

    Parameters
    ----------
    trees, depth : int
    """

    def __init__(self, trees: int, depth: int, **options: Any) -> None:  # noqa: ANN401  Keras' own
        super().__init__(**options)
        self.trees, self.depth = int(trees), int(depth)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weights: columns and borders of shape (depth, trees), leaves of shape (trees, 2^depth)."""
        shape = (self.depth, self.trees)
        self.columns = self.add_weight(shape=shape, dtype="int32", initializer="zeros", trainable=False, name="columns")
        self.borders = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="borders")
        self.leaves = self.add_weight(
            shape=(self.trees, 1 << self.depth), initializer="zeros", trainable=False, name="leaves"
        )
        super().build(input_shape)

    def call(self, matrix: Any) -> Any:  # noqa: ANN401  tensors
        """Return the sum over the trees, float32 of shape (n, 1), for a matrix of shape (n, width)."""
        columns, borders = keras.ops.convert_to_tensor(self.columns), keras.ops.convert_to_tensor(self.borders)
        # A row per column, so that what is gathered for a tree is copied in one piece, not customer by customer.
        rows = keras.ops.transpose(matrix)
        # As floats, which are exact here: a network has far fewer than 2^24 leaves.
        leaf = np.arange(self.trees, dtype=np.float32)[:, None] * (1 << self.depth)
        for level in range(self.depth):
            above = tf.gather(rows, columns[level]) > borders[level][:, None]
            leaf = leaf + keras.ops.cast(above, "float32") * float(1 << level)
        leaves = keras.ops.reshape(keras.ops.convert_to_tensor(self.leaves), (-1,))
        # Not `keras.ops.take`, which would look for negative places first.
        added = tf.gather(leaves, keras.ops.cast(leaf, "int32"))
        return keras.ops.expand_dims(keras.ops.sum(added, axis=0), 1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, int]:
        """Return the shape of what `call` returns."""
        return (input_shape[0], 1)

    def get_config(self) -> dict[str, Any]:
        """Return what makes the layer again, its weights apart."""
        return {**super().get_config(), "trees": self.trees, "depth": self.depth}
