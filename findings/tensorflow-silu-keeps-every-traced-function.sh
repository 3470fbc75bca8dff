#!/usr/bin/env bash
# tf.nn.silu (Keras' "silu" and "swish") has a gradient of its own, which is registered under a new name in a table of the
# process whenever a function that uses it is traced, and never removed. A process that loads one model after the other
# and traces each keeps objects of every one of them, and full garbage collections take longer and longer.
# Seen: 1 entry and 291 objects are left of each traced model with silu after its release; of those with relu, no entry.
# Hurts: services that change models while they run.
# Versions: tensorflow-cpu 2.21.0, keras 3.15.1, Python 3.11.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check tensorflow-cpu==2.21.0 keras==3.15.1
TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES= KERAS_BACKEND=tensorflow "$folder/env/bin/python" - <<'PYTHON'
import gc

import keras
import tensorflow as tf
from tensorflow.python.framework import ops


def count():
    gc.collect()
    return len(ops.gradient_registry.list()), len(gc.get_objects())


def trace_and_release(activation):
    inputs = keras.Input((4,))
    outputs = keras.layers.Dense(1)(keras.layers.Dense(8, activation=activation)(inputs))
    model = keras.Model(inputs, outputs)
    signature = [tf.TensorSpec([None, 4], tf.float32)]
    function = tf.function(lambda matrix: model(matrix), input_signature=signature, autograph=False)
    function.get_concrete_function()
    keras.backend.clear_session()


grown = {}
for activation in ("relu", "silu"):
    for _ in range(3):  # what is created once
        trace_and_release(activation)
    before = count()
    for _ in range(10):
        trace_and_release(activation)
    after = count()
    grown[activation] = [(b - a) / 10 for a, b in zip(before, after)]
    print(f"{activation}: entries and objects left of each model: {grown[activation]}")
assert grown["relu"][0] == 0, "the behaviour has changed"
assert grown["silu"][0] >= 1 and grown["silu"][1] > 100 + grown["relu"][1], "the behaviour has changed"
PYTHON
