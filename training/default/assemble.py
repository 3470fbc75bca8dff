"""Puts the network that ships together: the stack itself, in one Keras model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import numpy as np

from churn.layers import ObliviousTrees as TreesLayer
from churn.layers import PiecewiseLinear
from training.default.members import KINDS, STANDARD
from training.default.oblivious import join, to_fixed_point

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.default.bins import Bins
    from training.default.linear import LinearBag
    from training.default.members import Networks
    from training.default.oblivious import ObliviousTrees

TREES, LINEAR, TAILS = "trees", "linear", "tails"


@dataclass(frozen=True, slots=True)
class Families:
    """What was fitted of each family.

    Attributes
    ----------
    trees, tails : ObliviousTrees
    bins : Bins
        Of all features that the linear model and the networks on these bins use.
    linear : LinearBag
    networks : list of Networks
        Those on standard scores have their own bins.
    """

    trees: ObliviousTrees
    tails: ObliviousTrees
    bins: Bins
    linear: LinearBag
    networks: list[Networks]


def assemble(
    families: Families, weights: dict[str, float], bias: float, width: int, keep: str | None = None
) -> keras.Model:
    """Return the weighted sum of the families as one model, from the preprocessor's matrix to a probability.

    The members of the folds stand side by side: their first layers as one, their second ones as a block-diagonal one.

    Parameters
    ----------
    families : Families
    weights : dict of str to float
        By family; those of 0 have no part in the model.
    bias : float
    width : int
        Columns of the matrix.
    keep : str or None
        A kind of network that is part of the model even if its weight is 0.
    """
    inputs = keras.Input((width,), name="customer")
    parts = []
    trees = join([families.trees.times(weights[TREES]), families.tails.times(weights.get(TAILS, 0.0))])
    if len(trees):
        layer = TreesLayer(len(trees), trees.columns.shape[0], name=TREES)
        parts.append(layer(inputs))
        layer.set_weights([trees.columns, trees.borders, to_fixed_point(trees.leaves)])
    bias += trees.bias
    dense = [family for family in families.networks if weights[family.kind] or family.kind == keep]
    if weights[LINEAR] or any(family.kind != STANDARD for family in dense):
        encoded = add_bins(inputs, families.bins, "bins")
    if weights[LINEAR]:
        kernel, start = weights[LINEAR] * families.linear.weights, weights[LINEAR] * families.linear.bias
        parts.append(add_dense(encoded, kernel[:, None], None, LINEAR))
        bias += start
    for family in dense:
        own = family.kind == STANDARD
        bins = family.inputs.bins if own else families.bins
        seen = add_bins(inputs, bins, "standard_bins") if own else encoded
        part, start = _add_networks(seen, family, bins, weights[family.kind])
        parts.append(part)
        bias += start
    if not parts:
        parts.append(add_dense(inputs, np.zeros((width, 1)), None, "nothing"))
    logit = keras.layers.Add(name="sum")(parts) if len(parts) > 1 else parts[0]
    logit = add_dense(logit, np.ones((1, 1)), np.array([bias]), "logit")
    return keras.Model(inputs, keras.layers.Activation("sigmoid", name="probability")(logit))


def add_bins(inputs: keras.KerasTensor, bins: Bins, name: str) -> keras.KerasTensor:
    """Add the layer that computes `Bins.encode`."""
    ends = (bins.columns.tolist(), bins.others.tolist(), bins.lower.tolist(), bins.inverse.tolist())
    return PiecewiseLinear(*ends, name=name)(inputs)


def _add_networks(encoded: keras.KerasTensor, family: Networks, bins: Bins, weight: float
) -> tuple[keras.KerasTensor, float]:  # fmt: skip
    """Return the mean of the family's logits times its weight, without its bias, and that bias."""
    bag, name = family.bag, f"network_{KINDS.index(family.kind)}"
    members = len(bag.kernels[0])
    firsts = [family.merge_inputs(member) for member in range(members)]
    places = bins.positions_of(family.inputs.bins)
    kernel = np.zeros((bins.width, sum(first.shape[1] for first, _ in firsts)))
    kernel[places] = np.concatenate([first for first, _ in firsts], axis=1)
    hidden = add_dense(encoded, kernel, np.concatenate([start for _, start in firsts]), f"{name}_0", "silu")
    for layer in range(1, len(bag.kernels) - 1):
        blocks = _block_diagonal(list(bag.kernels[layer]))
        hidden = add_dense(
            hidden, blocks, np.concatenate(list(bag.biases[layer]), axis=1)[0], f"{name}_{layer}", "silu"
        )
    last = weight / members * np.concatenate(list(bag.kernels[-1]))
    return add_dense(hidden, last, None, name), float(weight * bag.biases[-1].mean())


def _block_diagonal(blocks: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    rows, columns = sum(block.shape[0] for block in blocks), sum(block.shape[1] for block in blocks)
    whole, row, column = np.zeros((rows, columns), np.float32), 0, 0
    for block in blocks:
        whole[row : row + block.shape[0], column : column + block.shape[1]] = block
        row, column = row + block.shape[0], column + block.shape[1]
    return whole


def add_dense(
    inputs: keras.KerasTensor, kernel: NDArray[np.floating], bias: NDArray[np.floating] | None, name: str,
    activation: str | None = None,
) -> keras.KerasTensor:  # fmt: skip
    """Add a dense layer with these weights, the kernel of shape (fan in, fan out); without a bias if it is None."""
    layer = keras.layers.Dense(kernel.shape[1], activation=activation, use_bias=bias is not None, name=name)
    outputs = layer(inputs)
    layer.set_weights([kernel.astype(np.float32), *([] if bias is None else [bias.astype(np.float32)])])
    return outputs
