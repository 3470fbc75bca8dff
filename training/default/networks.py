"""A bag of small multilayer perceptrons, one per fold, fitted together with NumPy.

Members have SiLU or rectified linear units. There is dropout and input noise during training. The
optimizer is AdamW (Loshchilov & Hutter, 2019) with a warm-up and a cosine schedule. The weights kept are a running mean
(Polyak & Juditsky, 1992), at the epoch with the lowest loss on the rows held out. Members are so small that matrix
products in NumPy are faster than a compiled graph, whose compilation takes longer than fitting a small table.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from training.default.folds import losses_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from training.default.folds import Fold

    Floats = NDArray[np.float32]

Activation = Literal["silu", "relu"]
LEAST_STEPS = 500
ROW_VISITS = 1_000_000
FEWEST_EPOCHS = 6
LOOKS = 20
"""Number of evaluations on the rows held out."""
WARM_UP = 0.05
PATIENCE = 0.25
"""Share of the epochs after which training stops if the loss on the rows held out does not fall."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Architecture and hyperparameters of the members.

    Attributes
    ----------
    hidden : tuple of int
        Units of each hidden layer.
    dropout, noise, weight_decay, learning_rate, averaging : float
    epochs, batch_size : int
    activation : {"silu", "relu"}
        Of the hidden units.
    row_visits : int
        Rows shown to a member in all, at most: a large table takes fewer epochs.
    """

    hidden: tuple[int, ...]
    dropout: float
    noise: float
    weight_decay: float
    learning_rate: float
    averaging: float
    epochs: int
    batch_size: int
    activation: Activation = "silu"
    row_visits: int = ROW_VISITS


@dataclass(frozen=True, slots=True)
class NetworkBag:
    """Fitted members.

    Attributes
    ----------
    kernels, biases : list of ndarray of float32
        For each layer, of shapes (members, fan in, fan out) and (members, 1, fan out). The last layer returns a logit.
    logits : ndarray of float64, shape (n,)
        Of each row by the member that was not fitted on it.
    losses : list of float
        Mean log loss of the rows held out, in nats, at each look.
    """

    kernels: list[Floats]
    biases: list[Floats]
    logits: NDArray[np.float64]
    losses: list[float]


def fit_networks(
    inside: Sequence[Floats],
    held_out: Floats,
    labels: Floats,
    folds: list[Fold],
    noisy: Floats,
    fan_in: int,
    recipe: Recipe,
    seed: int,
) -> NetworkBag:
    """Fit one member per fold.

    Parameters
    ----------
    inside : sequence of ndarray of float32, shape (rows fitted on, width)
    held_out : ndarray of float32, shape (n, width)
        All rows, as inputs of the member that is not fitted on them.
    labels : ndarray of float32, shape (n,)
    folds : list of Fold
    noisy : ndarray of float32, shape (width,)
        1 for columns that get noise, else 0.
    fan_in : int
        Inputs that differ from 0 in a row, about: the first weights are drawn accordingly.
    recipe : Recipe
    seed : int
    """
    return _Fit(inside, held_out, labels, folds, noisy, fan_in, recipe, seed).run()


def predict_member(
    kernels: Sequence[Floats],
    biases: Sequence[Floats],
    member: int,
    inputs: Floats,
    activation: Activation = "silu",
) -> Floats:
    """Return the logits of one member, shape (n,), for inputs of shape (n, width).

    Parameters
    ----------
    kernels, biases : sequence of ndarray of float32
        As in `NetworkBag`.
    member : int
    inputs : ndarray of float32, shape (n, width)
    activation : {"silu", "relu"}
    """
    *layers, (kernel, bias) = zip(kernels, biases, strict=True)
    for first, start in layers:
        added = inputs @ first[member] + start[member]
        inputs = added * _GATES[activation].open(added)
    return np.asarray((inputs @ kernel[member] + bias[member])[:, 0])


def _sigmoid(values: Floats) -> Floats:
    """Return 1 / (1 + e^-x), computed from tanh, which NumPy vectorises: a fifth of the time of SciPy's expit."""
    gate: Floats = np.tanh(values * np.float32(0.5))
    gate *= np.float32(0.5)
    gate += np.float32(0.5)
    return gate


@dataclass(frozen=True, slots=True)
class _Gate:
    """What a hidden unit's sum is multiplied by.

    Attributes
    ----------
    open : callable
        The gate for a sum.
    slope : callable
        The gate's derivative for a gate.
    """

    open: Callable[[Floats], Floats]
    slope: Callable[[Floats], Floats]


_GATES: dict[Activation, _Gate] = {
    "silu": _Gate(_sigmoid, lambda gate: gate * (1 - gate)),
    "relu": _Gate(lambda values: (values > 0).astype(np.float32), np.zeros_like),
}


class _Fit:
    """State of the fit. Weights, gradients and moments are one flat array each, with a view per layer."""

    def __init__(
        self, inside: Sequence[Floats], held_out: Floats, labels: Floats, folds: list[Fold], noisy: Floats,
        fan_in: int, recipe: Recipe, seed: int,
    ) -> None:  # fmt: skip
        self._inside, self._held_out, self._labels, self._folds = inside, held_out, labels, folds
        self._recipe, self._generator = recipe, np.random.default_rng(seed)
        self._gate = _GATES[recipe.activation]
        self._noisy = np.flatnonzero(noisy) if recipe.noise else np.empty(0, np.int64)
        drawn = self._draw(held_out.shape[1], fan_in)
        self._shapes = [array.shape for array in drawn]
        self._flat = np.concatenate([array.ravel() for array in drawn]).astype(np.float32)
        decays = [recipe.weight_decay if place % 2 == 0 else 0.0 for place in range(len(drawn))]
        self._decay = np.concatenate(
            [np.full(array.size, decay, np.float32) for array, decay in zip(drawn, decays, strict=True)]
        )
        self._gradient, self._mean = np.zeros_like(self._flat), self._flat.copy()
        self._first, self._second = np.zeros_like(self._flat), np.zeros_like(self._flat)
        fewest = min(len(rows) for rows, _ in folds)
        self._batch = min(recipe.batch_size, fewest)
        self._rows = np.empty((len(folds), self._batch, held_out.shape[1]), np.float32)
        self._steps = max(1, fewest // self._batch)
        affordable = max(FEWEST_EPOCHS, recipe.row_visits // fewest)
        self._epochs = min(max(recipe.epochs, -(-LEAST_STEPS // self._steps)), affordable)

    def _draw(self, width: int, fan_in: int) -> list[NDArray[np.float64]]:
        generator, members, drawn = self._generator, len(self._folds), []
        units = (width, *self._recipe.hidden)
        for layer, (above, below) in enumerate(itertools.pairwise(units)):
            drawn.append(generator.normal(size=(members, above, below)) / np.sqrt(above if layer else fan_in))
            drawn.append(generator.uniform(-0.5, 0.5, (members, 1, below)))
        share = float(self._labels.mean())
        drawn.append(generator.normal(size=(members, units[-1], 1)) * 0.3 / np.sqrt(units[-1]))
        drawn.append(np.full((members, 1, 1), np.log(share / (1 - share))))
        return drawn

    def _view(self, flat: Floats) -> list[Floats]:
        ends = np.cumsum([int(np.prod(shape)) for shape in self._shapes])
        return [part.reshape(shape) for part, shape in zip(np.split(flat, ends[:-1]), self._shapes, strict=True)]

    def run(self) -> NetworkBag:
        """Fit all members; return their weights at the epoch with the lowest loss on the rows held out."""
        weights, slopes, kept = self._view(self._flat), self._view(self._gradient), self._mean.copy()
        losses: list[float] = []
        best, best_epoch, step, total = np.inf, 0, 0, self._steps * self._epochs
        every = max(1, self._epochs // LOOKS)
        logits = np.zeros(len(self._labels))
        for epoch in range(self._epochs):
            orders = [self._generator.permutation(len(rows))[: self._steps * self._batch] for rows, _ in self._folds]
            for start in range(0, self._steps * self._batch, self._batch):
                self._descend(weights, slopes, [order[start : start + self._batch] for order in orders])
                self._move(step, total)
                step += 1
            if (self._epochs - 1 - epoch) % every == 0:
                predicted = self._ask_held_out()
                losses.append(float(losses_of(self._labels, predicted).mean()))
                if losses[-1] < best:
                    best, best_epoch, logits = losses[-1], epoch, predicted
                    kept[:] = self._mean
                elif epoch - best_epoch > max(4, PATIENCE * self._epochs):
                    break
        parts = self._view(kept)
        return NetworkBag(parts[::2], parts[1::2], logits, losses)

    def _descend(self, weights: list[Floats], slopes: list[Floats], places: list[NDArray[np.int64]]) -> None:
        """Compute the gradient of the mean log loss on a batch, for each member."""
        recipe, layers = self._recipe, len(self._recipe.hidden)
        batch = self._rows
        for inside, place, rows in zip(self._inside, places, batch, strict=True):
            # A seventh of the time of inside[place]. The places are valid; any mode but "raise" writes directly.
            np.take(inside, place, axis=0, out=rows, mode="clip")
        target = np.stack([self._labels[rows[place]] for (rows, _), place in zip(self._folds, places, strict=True)])
        if len(self._noisy):
            # For these columns alone: normal numbers for a whole batch take longer than all matrix products.
            noise = self._generator.standard_normal((*batch.shape[:2], len(self._noisy)), dtype=np.float32)
            batch[..., self._noisy] += np.float32(recipe.noise) * noise
        hidden, sums, gates, masks = [batch], [], [], []
        for layer in range(layers):
            added = np.matmul(hidden[-1], weights[2 * layer])
            added += weights[2 * layer + 1]
            gate = self._gate.open(added)
            output = added * gate
            if recipe.dropout:
                # A byte a unit: drawing floats would take as long as the matrix product.
                least = round(256 * recipe.dropout)
                drawn = np.frombuffer(self._generator.bytes(output.size), np.uint8).reshape(output.shape)
                masks.append((drawn >= least) * np.float32(256 / (256 - least)))
                output *= masks[-1]
            sums.append(added)
            gates.append(gate)
            hidden.append(output)
        logit = np.matmul(hidden[-1], weights[-2])
        logit += weights[-1]
        error = (_sigmoid(logit) - target[..., None]) / np.float32(target.shape[1])
        for layer in range(layers, -1, -1):
            np.matmul(hidden[layer].transpose(0, 2, 1), error, out=slopes[2 * layer])
            np.sum(error, axis=1, keepdims=True, out=slopes[2 * layer + 1])
            if layer:
                error = np.matmul(error, weights[2 * layer].transpose(0, 2, 1))
                if masks:
                    error *= masks[layer - 1]
                gate = gates[layer - 1]
                error *= gate + sums[layer - 1] * self._gate.slope(gate)

    def _move(self, step: int, total: int) -> None:
        """Take one step of AdamW and update the running mean."""
        recipe, gradient = self._recipe, self._gradient
        warm_up = max(1, round(WARM_UP * total))
        cosine = 0.5 * (1 + np.cos(np.pi * max(0, step - warm_up) / max(1, total - warm_up)))
        rate = recipe.learning_rate * min((step + 1) / warm_up, cosine)
        self._first += np.float32(0.1) * (gradient - self._first)
        self._second += np.float32(0.01) * (gradient * gradient - self._second)
        scale = np.sqrt(self._second)
        scale *= np.float32(1 / np.sqrt(1 - 0.99 ** (step + 1)))
        scale += np.float32(1e-8)
        change = np.divide(self._first, scale, out=scale)
        change *= np.float32(rate / (1 - 0.9 ** (step + 1)))
        change += np.float32(rate) * self._decay * self._flat
        self._flat -= change
        # The mean follows quickly at first, when there is little to average.
        follow = 1 - min(recipe.averaging, (1 + step) / (10 + step))
        self._mean += np.float32(follow) * (self._flat - self._mean)

    def _ask_held_out(self) -> NDArray[np.float64]:
        weights, logits = self._view(self._mean), np.zeros(len(self._labels))
        for member, (_, rows) in enumerate(self._folds):
            logits[rows] = predict_member(
                weights[::2], weights[1::2], member, self._held_out[rows], self._recipe.activation
            )
        return logits
