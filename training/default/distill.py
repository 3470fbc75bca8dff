"""Teaches one compact network to say what the teachers say together.

Knowledge distillation (Hinton et al., 2015) by least squares on logits (Ba & Caruana, 2014), weighted by how much a
probability moves with its logit, on the real customers and on made-up ones (Bucila et al., 2006, "Model compression").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.default.config import Config

BATCH_ROWS = 512
CHUNK_STEPS = 250
LEARNING_RATE = 1e-2
SWAP_SHARES = (0.0, 0.15, 0.5)
JITTER_SHARE, JITTER = 0.7, 0.1
REAL_COPIES = 4
LEAST_WEIGHT = 0.02


def make_up_customers(
    matrix: NDArray[np.float32],
    groups: list[NDArray[np.int64]],
    quantities: NDArray[np.int64],
    count: int,
    generator: np.random.Generator,
) -> NDArray[np.float32]:
    """Make customers up by giving real ones some features of others, and jittering quantities.

    Returns
    -------
    ndarray of float32, shape (count, width)
    """
    made = matrix[generator.integers(0, len(matrix), count)].copy()
    others = matrix[generator.integers(0, len(matrix), count)]
    share = generator.choice(SWAP_SHARES, count)
    for columns in groups:
        swapped = generator.random(count) < share
        made[np.ix_(swapped, columns)] = others[np.ix_(swapped, columns)]
    jittered = generator.random(count) < JITTER_SHARE
    noise = JITTER * generator.normal(size=(count, len(quantities)))
    made[:, quantities] += (jittered[:, None] * noise).astype(np.float32)
    return made


def build_smooth(width: int, units: Sequence[int]) -> keras.Model:
    """Make the student's smooth part: layers of SiLU units, and a logit."""
    inputs = keras.Input((width,))
    hidden = inputs
    for layer, count in enumerate(units):
        hidden = keras.layers.Dense(
            count,
            activation="silu",
            kernel_initializer=keras.initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal"),
            bias_initializer=keras.initializers.RandomUniform(-0.5, 0.5),
            name=f"hidden_{layer}",
        )(hidden)
    last = keras.initializers.VarianceScaling(0.09, "fan_in", "untruncated_normal")
    return keras.Model(inputs, keras.layers.Dense(1, kernel_initializer=last, name="smooth")(hidden))


def teach_student(
    student: keras.Model, matrix: NDArray[np.float32], logits: NDArray[np.float64], config: Config, seed: int
) -> float:
    """Teach the smooth part in place.

    Parameters
    ----------
    student : keras.Model
        Of `build_smooth`.
    matrix : ndarray of float32, shape (n, columns kept)
    logits : ndarray of float64, shape (n,)
        The teachers'.
    config : Config
    seed : int

    Returns
    -------
    float
        Mean weighted squared difference of the last steps.
    """
    rows, targets = tf.constant(matrix), tf.constant(logits.astype(np.float32))
    warm_up = max(1, config.student_steps // 20)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, config.student_steps, warmup_target=LEARNING_RATE, warmup_steps=warm_up
    )
    optimizer = keras.optimizers.Adam(schedule, beta_2=0.99, epsilon=1e-8)
    weights = student.trainable_variables
    optimizer.build(weights)

    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator] # TensorFlow ships no types
    def run(order: Any) -> Any:  # noqa: ANN401  tensors
        total = tf.constant(0.0)
        for index in tf.range(tf.shape(order)[0]):
            batch, target = tf.gather(rows, order[index]), tf.gather(targets, order[index])
            probability = tf.sigmoid(target)
            with tf.GradientTape() as tape:
                squares = (student(batch, training=True)[:, 0] - target) ** 2
                value = tf.reduce_mean((probability * (1 - probability) + LEAST_WEIGHT) * squares)
            optimizer.apply(tape.gradient(value, [weight.value for weight in weights]), weights)
            total += value
        return total / tf.cast(tf.shape(order)[0], tf.float32)

    generator = np.random.default_rng(seed)
    value = 0.0
    with tqdm(total=config.student_steps, desc="distilling", unit="step", disable=None) as bar:
        for start in range(0, config.student_steps, CHUNK_STEPS):
            steps = min(CHUNK_STEPS, config.student_steps - start)
            value = float(run(tf.constant(generator.integers(0, len(matrix), (steps, BATCH_ROWS)))))
            bar.set_postfix({"difference": f"{value:.5f}"}, refresh=False)
            bar.update(steps)
    return value
