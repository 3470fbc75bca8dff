"""Teaches all members of the bag at once: small networks side by side along a member axis of one graph.

Each member is a multilayer perceptron with SiLU units on the columns kept, plus a weight for each tail's staircase.
Each is taught on its own rows of the cross-validation, in its own order, with its own dropout; only the machine's
time is shared (an ensemble in one pass, as in Gorishniy et al., ICLR 2025, "TabM", but with nothing tied). Taught by
AdamW (Loshchilov & Hutter, 2019) on a warm-up and a cosine; the running mean of the weights is kept.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from training.default.trees import loss

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.default.config import Config

TAIL_SCALE = 3.0
"""Tails' weights learn this much faster: their indicators are nearly always 0."""

PREDICT_ROWS = 4000

LEAST_FLOOR = 1e-5
"""Below it a probability may round to 1 in float32, whose complement has no logarithm; so no floor is taken there."""


@dataclass(frozen=True, slots=True)
class Task:
    """What the members learn from.

    Attributes
    ----------
    matrix : ndarray of float32, shape (n, columns kept)
    labels : ndarray of float32, shape (n,)
    tails : ndarray of float32, shape (members, n, tails)
        Each member's staircases: found without the rows it is not taught on.
    rows : list of ndarray of int64, one a member
        What each is taught on.
    noisy : ndarray of float32, shape (columns kept,)
        1 for scaled quantities, which get noise, else 0.
    """

    matrix: NDArray[np.float32]
    labels: NDArray[np.float32]
    tails: NDArray[np.float32]
    rows: list[NDArray[np.int64]]
    noisy: NDArray[np.float32]

    @property
    def members(self) -> int:
        """Networks in the bag."""
        return len(self.rows)


class Bag:
    """The members' weights and what they compute.

    Parameters
    ----------
    task : Task
    config : Config
    seed : int
    """

    def __init__(self, task: Task, config: Config, seed: int) -> None:
        self._task = task
        self._config = config
        self._generator = np.random.default_rng(seed)
        self._seed = seed
        self._weights = [keras.Variable(weight.astype(np.float32)) for weight in self._draw_weights()]
        self._means = [tf.Variable(weight.value) for weight in self._weights]
        self._optimizer = self._make_optimizer()

    def _draw_weights(self) -> list[NDArray[np.float64]]:
        members, generator = self._task.members, self._generator
        units = (self._task.matrix.shape[1], *self._config.hidden)
        weights = []
        for fan_in, fan_out in itertools.pairwise(units):
            weights.append(generator.normal(size=(members, fan_in, fan_out)) / np.sqrt(fan_in))
            weights.append(generator.uniform(-0.5, 0.5, size=(members, 1, fan_out)))
        share = self._task.labels.mean()
        weights.append(generator.normal(size=(members, units[-1], 1)) * 0.3 / np.sqrt(units[-1]))
        weights.append(np.full((members, 1, 1), np.log(share / (1 - share))))
        weights.append(np.zeros((members, self._task.tails.shape[2], 1)))
        return weights

    def _make_optimizer(self) -> keras.optimizers.Optimizer:
        config = self._config
        steps = self.steps * config.epochs
        warm_up = max(1, round(config.warm_up * steps))
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0, steps - warm_up, warmup_target=config.learning_rate, warmup_steps=warm_up
        )
        optimizer = keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay, beta_2=0.99, epsilon=1e-8)
        # Kernels stand at even places of the layers; biases and tails' weights are not drawn to 0.
        decayed = set(range(0, 2 * len(config.hidden) + 1, 2))
        optimizer.exclude_from_weight_decay(
            [weight for index, weight in enumerate(self._weights) if index not in decayed]
        )
        optimizer.build(self._weights)
        return optimizer

    @property
    def steps(self) -> int:
        """Steps an epoch: all members take as many."""
        return max(1, min(map(len, self._task.rows)) // self.batch)

    @property
    def batch(self) -> int:
        """Customers a step."""
        return min(self._config.batch_size, *map(len, self._task.rows))

    def teach(self, *, show: bool = True) -> dict[str, list[float]]:
        """Teach all members; return per epoch the mean training loss and the loss on the rows left out, in nats.

        Parameters
        ----------
        show : bool
            Whether progress is shown.
        """
        history: dict[str, list[float]] = {"loss": [], "val_loss": []}
        task, config = self._task, self._config
        matrix, labels = tf.constant(task.matrix), tf.constant(task.labels)
        # Members' staircases one after another, so that one gather finds a member's row.
        tails = tf.constant(task.tails.reshape(task.members * len(task.labels), task.tails.shape[2]))
        offsets = tf.constant(np.arange(task.members)[:, None] * len(task.labels), tf.int64)

        @tf.function(jit_compile=True)  # type: ignore[untyped-decorator] # TensorFlow ships no types
        def run_epoch(order: Any, step: Any, seed: Any) -> Any:  # noqa: ANN401  tensors
            total = tf.constant(0.0)
            for index in tf.range(self.steps):
                rows = order[index]
                batch, target = tf.gather(matrix, rows), tf.gather(labels, rows)[..., None]
                jumps = tf.gather(tails, rows + offsets)
                with tf.GradientTape() as tape:
                    logits = self._smooth(self._weights, batch, seed + tf.stack([0, index * 16]))
                    logits += TAIL_SCALE * tf.matmul(jumps, self._weights[-1])
                    value = self._loss(logits, target)
                gradients = tape.gradient(value, [weight.value for weight in self._weights])
                self._optimizer.apply(gradients, self._weights)
                # The mean follows quickly at first, when there is little to average.
                decay = tf.minimum(config.averaging, (1.0 + step) / (10.0 + step))
                for mean, weight in zip(self._means, self._weights, strict=True):
                    mean.assign(decay * mean + (1 - decay) * weight.value)
                step += 1.0
                total += value
            return total / self.steps / task.members

        with tqdm(total=config.epochs, desc="teaching the bag", unit="epoch", disable=None if show else True) as bar:
            for epoch in range(config.epochs):
                seed = tf.constant([self._seed * 1000 + epoch, 0], tf.int32)
                value = run_epoch(self._shuffle(), tf.constant(float(epoch * self.steps)), seed)
                history["loss"].append(float(value))
                history["val_loss"].append(self._validate())
                bar.set_postfix({name: f"{values[-1]:.4f}" for name, values in history.items()}, refresh=False)
                bar.update()
        return history

    def _loss(self, logits: Any, target: Any) -> Any:  # noqa: ANN401  tensors
        """Return the members' summed mean log loss, with a share of the labels taken to be chance."""
        floor = self._config.label_noise
        if floor < LEAST_FLOOR:
            return tf.reduce_sum(tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(target, logits), axis=[1, 2]))
        probability = floor + (1 - 2 * floor) * tf.sigmoid(logits)
        likelihood = target * tf.math.log(probability) + (1 - target) * tf.math.log(1 - probability)
        return -tf.reduce_sum(tf.reduce_mean(likelihood, axis=[1, 2]))

    def _smooth(self, weights: Any, batch: Any, seed: Any = None) -> Any:  # noqa: ANN401  tensors
        """Return the networks' logits, shape (members, rows, 1), with noise and dropout where there is a seed."""
        layers, dropout = len(self._config.hidden), self._config.dropout
        if seed is not None:
            noise = tf.random.stateless_normal(tf.shape(batch), seed)
            batch += self._config.noise * tf.constant(self._task.noisy) * noise
        hidden = batch
        for layer in range(layers):
            hidden = tf.nn.silu(tf.matmul(hidden, weights[2 * layer]) + weights[2 * layer + 1])
            if seed is not None:
                chance = tf.random.stateless_uniform(tf.shape(hidden), seed + tf.constant([layer + 1, 0]))
                hidden = tf.where(chance < dropout, 0.0, hidden / (1 - dropout))
        return tf.matmul(hidden, weights[2 * layers]) + weights[2 * layers + 1]

    def _shuffle(self) -> Any:  # noqa: ANN401  a tensor
        """Return each member's rows in a new order, shape (steps, members, batch)."""
        size = self.steps * self.batch
        orders = [self._generator.permutation(rows)[:size] for rows in self._task.rows]
        return tf.constant(np.stack([order.reshape(self.steps, self.batch) for order in orders], axis=1))

    def _validate(self) -> float:
        """Return the log loss of the rows each member was not taught on; of all where it was taught on all."""
        logits = self.smooth_logits(self._task.matrix) + self.tail_logits()
        floor = self._config.label_noise
        losses = []
        for member, rows in enumerate(self._task.rows):
            left_out = np.ones(len(self._task.labels), dtype=bool)
            left_out[rows] = len(rows) == len(left_out)
            probabilities = floor + (1 - 2 * floor) / (1 + np.exp(-logits[member, left_out].astype(np.float64)))
            losses.append(loss(self._task.labels[left_out], probabilities).mean())
        return float(np.mean(losses))

    def smooth_logits(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return each network's logits without tails, shape (members, n), for a matrix of the columns kept."""
        padded = np.pad(matrix, ((0, -len(matrix) % PREDICT_ROWS), (0, 0)))
        blocks = [self._run(tf.constant(block)).numpy() for block in np.split(padded, len(padded) // PREDICT_ROWS)]
        return np.concatenate(blocks, axis=1)[:, : len(matrix)]

    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
    def _run(self, block: Any) -> Any:  # noqa: ANN401  tensors
        spread = tf.broadcast_to(block, [self._task.members, *block.shape])
        return self._smooth(self._means, spread)[..., 0]

    @property
    def tail_weights(self) -> NDArray[np.float32]:
        """What being in a tail adds to the logit, shape (members, tails)."""
        weights: NDArray[np.float32] = TAIL_SCALE * self._means[-1].numpy()[..., 0]
        return weights

    def tail_logits(self) -> NDArray[np.float32]:
        """Return what tails add to each row taught on, shape (members, n)."""
        logits: NDArray[np.float32] = np.einsum("mnt,mt->mn", self._task.tails, self.tail_weights)
        return logits
