"""Trains the student on all training rows, streamed past it; keeps the pass that the validation part likes best."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf

from training.context import Result
from training.default.folds import losses_of
from training.default.stack import fit_scaling
from training.streaming.progress import KeepBest
from training.streaming.records import BLOCK_ROWS
from training.streaming.strategy import choose_strategy, is_mixed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.streaming.records import Records
    from training.streaming.sample import Start
    from training.streaming.settings import Streaming

STEPS_AN_EPOCH = 200
"""At least so many, if the batches don't get smaller than a block."""

REFERENCE_ROWS = 8192
"""Customers a step for which `Streaming.learning_rate` is meant."""

WARM_UP = 0.1
"""Share of the steps over which the learning rate rises."""

WEIGHT_DECAY = 1e-3
"""Of kernels. A hundredth of what the members take: so many rows need little to keep weights small."""

STEPS_A_CALL = 32
"""Steps run between two looks at the progress."""


ASK_ROWS = 65_536
"""Rows asked at once."""


def choose_batch(rows: int, most: int, devices: int) -> int:
    """Return the customers a step, all devices together: a power of two of blocks each, at most `most`."""
    wanted = max(1, min(rows // STEPS_AN_EPOCH // devices, most) // BLOCK_ROWS)
    return devices * BLOCK_ROWS * (1 << (wanted.bit_length() - 1))


def fit_streamed(
    start: Start,
    records: Records,
    matrix: NDArray[np.float32],
    labels: NDArray[np.float32],
    streaming: Streaming,
    seed: int,
) -> Result:
    """Train the student by the labels of all training rows, then calibrate it on the validation part.

    Parameters
    ----------
    start : Start
        Its model is left as it is.
    records : Records
        Of all columns of the matrix.
    matrix : ndarray of float32, shape (n, width)
        Validation rows.
    labels : ndarray of float32, shape (n,)
        Theirs.
    streaming : Streaming
    seed : int
    """
    strategy = choose_strategy(streaming)
    batch_rows = choose_batch(records.rows, streaming.batch_rows, strategy.num_replicas_in_sync)
    epochs, steps = streaming.choose_epochs(records.rows), max(1, records.rows // batch_rows)
    mixed = is_mixed(streaming)
    with strategy.scope():
        model = keras.models.clone_model(start.model)
        model.set_weights(start.model.get_weights())
        if mixed:
            _compute_in_float16(model)
        optimizer = _make_optimizer(steps * epochs, batch_rows, streaming, mixed=mixed)
        # XLA has no deterministic form of some operations, so Keras would leave it out in the job, and only there.
        model.compile(optimizer, "binary_crossentropy", steps_per_execution=min(STEPS_A_CALL, steps), jit_compile=False)
    logit = keras.Model(model.inputs, model.get_layer("logit").output)
    best = KeepBest(lambda: float(losses_of(labels, _ask(logit, matrix)).mean()), epochs, steps * batch_rows)
    rows = records.stream(batch_rows, seed)
    history = model.fit(rows, epochs=epochs, steps_per_epoch=steps, shuffle=False, callbacks=[best], verbose=0).history
    fitted = keras.models.clone_model(start.model)
    fitted.set_weights(model.get_weights())
    _calibrate(fitted, _ask(logit, matrix), labels)
    return Result(
        model=fitted,
        history={"loss": [float(value) for value in history["loss"]], "val_loss": best.losses},
        notes=(_describe(records, best, batch_rows, strategy.num_replicas_in_sync, mixed=mixed),),
        warnings=start.warnings,
        details=start.details,
    )


def _compute_in_float16(model: keras.Model) -> None:
    """Let hidden layers compute in float16; weights, the logit, the probability and the loss stay float32."""
    for layer in model.layers:
        if layer.name.startswith("network"):
            layer.dtype_policy = keras.DTypePolicy("mixed_float16")


def _make_optimizer(steps: int, batch_rows: int, streaming: Streaming, *, mixed: bool) -> keras.optimizers.Optimizer:
    """Return AdamW on a warm-up and a cosine; its rate follows the batch as its square root.

    Loshchilov and Hutter (2019) for the decoupled decay; Malladi et al. (2022), "On the SDEs and scaling rules for
    adaptive gradient algorithms", for the square root.
    """
    rate = streaming.learning_rate * math.sqrt(batch_rows / REFERENCE_ROWS)
    warm_up = max(1, round(WARM_UP * steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warm_up), warmup_target=rate, warmup_steps=warm_up
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=WEIGHT_DECAY, beta_2=0.99)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    # Small gradients would be 0 in float16, so the loss is scaled up for them.
    return keras.optimizers.LossScaleOptimizer(optimizer) if mixed else optimizer


def _ask(model: keras.Model, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return what a model says, shape (n,)."""
    pieces = [model(tf.constant(matrix[start : start + ASK_ROWS])) for start in range(0, len(matrix), ASK_ROWS)]
    return np.concatenate([np.asarray(piece)[:, 0] for piece in pieces]).astype(np.float64)


def _calibrate(model: keras.Model, logits: NDArray[np.float64], labels: NDArray[np.float32]) -> None:
    """Fold the slope and offset that fit the validation part best into the last weights."""
    slope, offset = fit_scaling(logits, labels)
    last = model.get_layer("logit")
    kernel, bias = last.get_weights()
    last.set_weights([slope * kernel, slope * bias + offset])


def _describe(records: Records, best: KeepBest, batch_rows: int, devices: int, *, mixed: bool) -> str:
    """Say how it was trained."""
    computed = "float16 with weights in float32" if mixed else "float32"
    return (
        f"Trained on a sample first, which came to a validation loss of {best.first:.5f}, then on all {records.rows:,} "
        f"training customers, {batch_rows:,} a step on {devices} device(s) in {computed}; the best of "
        f"{len(best.losses)} passes came to {min(best.losses):.5f}."
    )
