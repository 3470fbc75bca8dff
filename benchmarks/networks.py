"""What the shipped network costs against an ordinary MLP, in both engines: `python benchmarks/networks.py`.

Each runs alone, on one core and one thread, through `churn.engines`; the networks take turns call by call, so that a
busy machine hits them alike. What is not the shipped one has weights as they are drawn: they cost what taught ones do.
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
    """Make an ordinary MLP: layers of ReLU units, and a sigmoid."""
    import keras

    inputs = keras.Input((width,), name="customer")
    hidden = inputs
    for count in units:
        hidden = keras.layers.Dense(count, activation="relu")(hidden)
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid", name="probability")(hidden))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the models")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each number of rows")
    options = parser.parse_args()
    # One core for everything that is loaded from here on.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    set_tensorflow_environment()
    from training import reference
    from training.default.config import Config
    from training.export import export_network

    shipped = Registry(options.models).current_folder()
    width = read_bundle(shipped).manifest.preprocessor.width
    student = Config().student
    others = {
        f"ordinary MLP of as many units ({' and '.join(map(str, student))})": build_mlp(width, student),
        "ordinary MLP of 256 and 256": build_mlp(width, (256, 256)),
        "the tutorial's network (6 and 6)": reference.build(width),
    }
    with tempfile.TemporaryDirectory() as temporary:
        folders = {"as it ships": shipped}
        for index, (name, model) in enumerate(others.items()):
            folders[name] = Path(temporary) / str(index)
            folders[name].mkdir()
            model(np.zeros((1, width), np.float32))  # Keras exports what has been called only
            export_network(model, folders[name])
        for engine, title in ENGINES.items():
            variants: dict[str, Predict] = {
                name: load_engine(engine, folder).predict for name, folder in folders.items()
            }
            medians, firsts = measure(variants, width, options.seconds, same=False)
            print_table(title, medians, firsts)
            one, many = medians["as it ships"][0], medians["as it ships"][-1]
            print(f"\nas it ships: {one:.0f} µs a row alone; {ROWS[-1] / many * 1e6:,.0f} rows a second in batches")


if __name__ == "__main__":
    main()
