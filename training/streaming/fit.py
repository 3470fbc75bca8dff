"""Train the dense layers of the network on all training rows, and keep the epoch with the best validation loss."""

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
    from training.streaming.sample import SampleFit
    from training.streaming.settings import Streaming

STEPS_AN_EPOCH = 200
"""Minimum number of steps per epoch, unless batches would be smaller than a block."""

REFERENCE_ROWS = 8192
"""Batch size to which `Streaming.learning_rate` refers."""

WARM_UP = 0.1
"""Fraction of the steps in which the learning rate rises."""

WEIGHT_DECAY = 1e-3
"""Weight decay of kernels; a hundredth of that in memory, because large tables need little regularisation."""

STEPS_A_CALL = 32
"""Number of steps per call of the training function."""


ASK_ROWS = 65_536
"""Batch size for predictions."""


def choose_batch(rows: int, most: int, devices: int) -> int:
    """Return the total batch size; each device gets a power of two of blocks, at most `most` rows."""
    wanted = max(1, min(rows // STEPS_AN_EPOCH // devices, most) // BLOCK_ROWS)
    return devices * BLOCK_ROWS * (1 << (wanted.bit_length() - 1))


def fit_streamed(
    start: SampleFit,
    records: Records,
    matrix: NDArray[np.float32],
    labels: NDArray[np.float32],
    streaming: Streaming,
    seed: int,
) -> Result:
    """Train the dense layers on the labels of all training rows, then calibrate on the validation set.

    Parameters
    ----------
    start : SampleFit
        Its model is not modified.
    records : Records
        Training rows with all columns of the matrix.
    matrix : ndarray of float32, shape (n, width)
        Validation rows.
    labels : ndarray of float32, shape (n,)
        Labels of the validation rows.
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
        # Some operations are not deterministic with XLA, so Keras would disable it in the job only.
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
    """Set the precision of hidden layers to float16; weights, logit, probability and loss remain float32."""
    for layer in model.layers:
        if layer.name.startswith("network"):
            layer.dtype_policy = keras.DTypePolicy("mixed_float16")


def _make_optimizer(steps: int, batch_rows: int, streaming: Streaming, *, mixed: bool) -> keras.optimizers.Optimizer:
    """Return AdamW with warm-up and cosine decay; the learning rate scales with the square root of the batch size.

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
    # Small gradients would underflow in float16, so the loss is scaled.
    return keras.optimizers.LossScaleOptimizer(optimizer) if mixed else optimizer


def _ask(model: keras.Model, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the output of a model, shape (n,)."""
    pieces = [model(tf.constant(matrix[start : start + ASK_ROWS])) for start in range(0, len(matrix), ASK_ROWS)]
    return np.concatenate([np.asarray(piece)[:, 0] for piece in pieces]).astype(np.float64)


def _calibrate(model: keras.Model, logits: NDArray[np.float64], labels: NDArray[np.float32]) -> None:
    """Fit slope and offset on the validation set, and multiply them into the last layer's weights."""
    slope, offset = fit_scaling(logits, labels)
    last = model.get_layer("logit")
    kernel, bias = last.get_weights()
    last.set_weights([slope * kernel, slope * bias + offset])


def _describe(records: Records, best: KeepBest, batch_rows: int, devices: int, *, mixed: bool) -> str:
    """Return a sentence that describes the training."""
    computed = "float16 with weights in float32" if mixed else "float32"
    return (
        f"Trained on a sample (validation loss {best.first:.5f}), then on all {records.rows:,} training customers with "
        f"{batch_rows:,} customers per step on {devices} device(s) in {computed}; the best validation loss of "
        f"{len(best.losses)} epochs is {min(best.losses):.5f}."
    )
