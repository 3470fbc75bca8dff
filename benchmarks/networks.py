"""Compare the speed of the published network with ordinary MLPs in both engines: `python benchmarks/networks.py`.

The networks run on one core and one thread through `churn.engines` and alternate call by call, so that load on the
machine affects them equally. The MLPs have random weights, which does not affect their speed.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from engines import ROWS, measure, print_table

from churn.bundle import read_bundle
from churn.engines import load_engine, set_tensorflow_environment
from churn.registry import Registry

if TYPE_CHECKING:
    import keras
    from engines import Predict

ENGINES = {"onnx": "ONNX Runtime, µs", "tensorflow": "TensorFlow, µs"}


def build_mlp(width: int, units: tuple[int, ...]) -> keras.Model:
    """Build an ordinary MLP: layers of ReLU units and a sigmoid."""
    import keras

    inputs = keras.Input((width,), name="customer")
    hidden = inputs
    for count in units:
        hidden = keras.layers.Dense(count, activation="relu")(hidden)
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid", name="probability")(hidden))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the model versions")
    parser.add_argument("--seconds", type=float, default=4.0, help="seconds per number of rows")
    options = parser.parse_args()
    # One core for all libraries loaded from here on.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    set_tensorflow_environment()
    from training import reference
    from training.export import export_network

    shipped = Registry(options.models).current_folder()
    width = read_bundle(shipped).manifest.preprocessor.width
    others = {
        "ordinary MLP of 64 and 32": build_mlp(width, (64, 32)),
        "ordinary MLP of 256 and 256": build_mlp(width, (256, 256)),
        "the tutorial's network (6 and 6)": reference.build(width),
    }
    with tempfile.TemporaryDirectory() as temporary:
        folders = {"published network": shipped}
        for index, (name, model) in enumerate(others.items()):
            folders[name] = Path(temporary) / str(index)
            folders[name].mkdir()
            model(np.zeros((1, width), np.float32))  # Keras can export only models that have been called
            export_network(model, folders[name])
        for engine, title in ENGINES.items():
            variants: dict[str, Predict] = {
                name: load_engine(engine, folder).predict for name, folder in folders.items()
            }
            medians, firsts = measure(variants, width, options.seconds, same=False)
            print_table(title, medians, firsts)
            one, many = medians["published network"][0], medians["published network"][-1]
            print(f"\npublished network: {one:.0f} µs for one row; {ROWS[-1] / many * 1e6:,.0f} rows/s in batches")


if __name__ == "__main__":
    main()
