"""The Keras layers a network may be made of; importing this module registers them for loading.

A layer of ours belongs here, registered under ``churn``, so that `model.keras` loads in safe mode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


@keras.saving.register_keras_serializable("churn")
class TailIndicators(keras.layers.Layer):  # type: ignore[misc] # Keras ships no types
    """Mark customers in the tails of columns: output k is 1 where column k's value is beyond cut k, else 0.

    The thresholded basis functions of MARS (Friedman, 1991, "Multivariate Adaptive Regression Splines") at degree 0.
    A smooth network can't follow a jump that a few customers in a thousand show; a cut found beforehand can.

    Parameters
    ----------
    columns : sequence of int
        Which column of the matrix each output looks at.
    signs : sequence of {1, -1}
        1: beyond means below the cut; -1: above it.
    cuts : sequence of float
        In the units of the matrix.
    """

    def __init__(
        self,
        columns: Sequence[int],
        signs: Sequence[int],
        cuts: Sequence[float],
        **options: Any,  # noqa: ANN401  Keras' own
    ) -> None:
        super().__init__(**options)
        self.columns = [int(column) for column in columns]
        self.signs = [int(sign) for sign in signs]
        self.cuts = [float(cut) for cut in cuts]

    def build(self, input_shape: tuple[int | None, int]) -> None:
        """Make the matrix that picks the columns: a product with it is exact, as each sum has one term that is not 0.

        Gathering the columns takes three times as long in ONNX Runtime, which copies them number by number.
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
        """Return the shape of what `call` returns."""
        return (input_shape[0], len(self.columns))

    def get_config(self) -> dict[str, Any]:
        """Return what makes the layer again."""
        return {**super().get_config(), "columns": self.columns, "signs": self.signs, "cuts": self.cuts}
