"""Devices and precision of streamed training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

if TYPE_CHECKING:
    from training.streaming.settings import Streaming

TENSOR_CORES = (7, 0)
"""Minimum NVIDIA compute capability with which float16 is faster than float32."""


def choose_strategy(streaming: Streaming) -> tf.distribute.Strategy:
    """Return a MirroredStrategy for the given devices or for several GPUs, otherwise the default strategy."""
    devices = list(streaming.devices) or [device.name for device in tf.config.list_logical_devices("GPU")]
    return tf.distribute.MirroredStrategy(devices) if len(devices) > 1 else tf.distribute.get_strategy()


def is_mixed(streaming: Streaming) -> bool:
    """Return whether hidden layers compute in float16: as set, otherwise if all GPUs have tensor cores."""
    if streaming.mixed_precision is not None:
        return streaming.mixed_precision
    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    return bool(gpus) and all(detail.get("compute_capability", (0, 0)) >= TENSOR_CORES for detail in details)
