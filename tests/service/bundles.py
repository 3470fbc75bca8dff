"""Tiny models made without TensorFlow: a one-layer network over the raw columns, written as real bundles."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from churn.bundle import KERAS_FILE, ONNX_FILE, PREPROCESSOR_FILE, REPORT_FILE, write_manifest
from churn.columns import encode_columns
from churn.engines import import_onnxruntime
from churn.feature import Feature
from churn.names import normalize
from churn.preprocessing import Preprocessor
from churn.registry import Registry
from churn.schema import Schema
from churn.trust.background import BACKGROUND_FILE
from churn.trust.manifest import MIN_GOLDEN_ROWS
from churn.trust.support import MEMBERS_FILE
from training.histograms import count_features, count_scores
from training.support import write_support

if TYPE_CHECKING:
    from numpy.typing import NDArray

onnxruntime = import_onnxruntime()

BANK = Schema(
    features=(
        Feature("CreditScore", "integer", minimum=0, trained_minimum=350, trained_maximum=850, example=619,
                description="The bank's rating of the customer.", unit="points"),
        Feature("Geography", "category", categories=("France", "Germany", "Spain"), example="France"),
        Feature("Gender", "category", categories=("Female", "Male"), example="Female"),
        Feature("Age", "integer", minimum=0, trained_minimum=18, trained_maximum=92, example=42, unit="years"),
        Feature("Tenure", "integer", minimum=0, trained_minimum=0, trained_maximum=10, example=2, unit="years"),
        Feature("Balance", "number", minimum=0, trained_minimum=0, trained_maximum=250898.09, example=0.0),
        Feature("NumOfProducts", "integer", minimum=0, trained_minimum=1, trained_maximum=4, example=1),
        Feature("HasCrCard", "flag", example=1),
        Feature("IsActiveMember", "flag", example=1),
        Feature("EstimatedSalary", "number", minimum=0, trained_minimum=11.58, trained_maximum=199992.48,
                example=101348.88),
    ),
    label="Exited",
)  # fmt: skip

ODD = Schema(
    features=(
        Feature("class", "category", categories=("a", "b c", 'd"e', "ü")),
        Feature("_income", "number", minimum=-10.5, maximum=1e6, nullable=True, trained_minimum=0, trained_maximum=1e5),
        Feature("größe in cm", "integer", nullable=True, minimum=30, maximum=300),
        Feature("it's €?", "flag", nullable=True),
        Feature("plain", "number"),
    ),
    label="left?",
    identifier="client no",
)

CUSTOMER: dict[str, Any] = {
    "CreditScore": 619, "Geography": "France", "Gender": "Female", "Age": 42, "Tenure": 2, "Balance": 0.0,
    "NumOfProducts": 1, "HasCrCard": 1, "IsActiveMember": 1, "EstimatedSalary": 101348.88,
}  # fmt: skip

QUOTED = Schema((Feature('say "hi"', "flag", nullable=True), Feature("back\\slash", "integer")), label="left")

ODD_CUSTOMER: dict[str, Any] = {"class": "ü", "_income": 12.5, "größe in cm": None, "it's €?": "yes", "plain": -3}


WIDE = Schema(tuple(Feature(f"x{number}", "number") for number in range(14)), label="left")
"""More features than are explained exactly."""


def publish(
    root: Path,
    schema: Schema = BANK,
    customer: dict[str, Any] | None = None,
    background: int = 0,
    seed: int = 7,
    *,
    support: bool = False,
    **changes: Any,
) -> Path:
    """Publish a model of `schema` under `root` and return its folder; `changes` go into the manifest.

    It has a background of that many customers, if any, weights drawn from `seed`, and support, if it is asked for.
    """
    preprocessor = make_preprocessor(schema)

    def write(folder: Path, version: int) -> None:
        if background:
            np.save(folder / BACKGROUND_FILE, draw_raw(schema, background))
        (folder / ONNX_FILE).write_bytes(make_network(preprocessor.width, seed).SerializeToString())
        for name in (KERAS_FILE, PREPROCESSOR_FILE, REPORT_FILE):
            (folder / name).write_bytes(b"not read by the ONNX engine")
        known = customer or (CUSTOMER if schema is BANK else ODD_CUSTOMER)
        row = {name: value for name, value in known.items() if name in schema.names}
        content = {
            "version": version,
            "schema": schema.to_dict(),
            "threshold": 0.5,
            "preprocessing": preprocessor.to_dict(),
            "histograms": count_features(schema, encode_columns(schema, {n: [row.get(n)] for n in schema.names})),
            "score_histogram": count_scores(np.array([0.1, 0.6])),
            "golden": [
                {"customer": each, "probability": probability_of(folder, schema, preprocessor, each)}
                for each in cover(schema, row)
            ],
            "libraries": {"onnxruntime": onnxruntime.__version__, "keras": "3.15.0"},
            "created": "2026-11-23T12:00:00+00:00",
            "git_commit": "0" * 40,
            "seed": 1,
            "metrics": {"test": {"log_loss": 0.34}},
            "data": {"sha256": "1" * 64, "rows": 10_000},
            "network": {"name": "tiny", "parameters": 15},
        }
        if support:
            every = np.arange(len(schema.features))
            entry = write_support(
                folder, schema, draw_raw(schema, 300, seed=5), every, (), preprocessor.transform, seed
            )
            (folder / MEMBERS_FILE).write_bytes(make_network(preprocessor.width, seed, 3).SerializeToString())
            content |= {"support": (entry or {}) | {"members": {"factor": 2.0, "variance": 0.1}}}
        write_manifest(folder, content | changes)

    return root / str(Registry(root).publish(write))


def cover(schema: Schema, customer: dict[str, Any]) -> list[dict[str, Any]]:
    """Return as many customers as golden rows are needed, with every level of the categories; the first is given."""
    categories = [feature for feature in schema.features if feature.kind == "category"]
    rows = max([MIN_GOLDEN_ROWS, *(len(feature.levels) for feature in categories)])
    starts = {feature: feature.levels.index(normalize(customer[feature.name])) for feature in categories}
    return [customer] + [
        customer | {each.name: each.levels[(start + row) % len(each.levels)] for each, start in starts.items()}
        for row in range(1, rows)
    ]


def make_preprocessor(schema: Schema) -> Preprocessor:
    values = [i for i, feature in enumerate(schema.features) if feature.kind != "category"]
    equals = [
        (i, float(code))
        for i, feature in enumerate(schema.features)
        for code in range(1, len(feature.categories))
        if feature.kind == "category"
    ]
    missing = [i for i, feature in enumerate(schema.features) if feature.nullable]
    width = len(values) + len(equals) + len(missing)
    scale = [max(1.0, (schema.features[i].trained_maximum or 2.0) / 2) for i in values]
    return Preprocessor.from_dict({
        "names": [f"column {i}" for i in range(width)],
        "value_source": values,
        "value_fill": [1.0] * len(values),
        "value_spike": [None] * len(values),
        "spike_fill": [0.0] * len(values),
        "equal_source": [source for source, _ in equals],
        "equal_value": [code for _, code in equals],
        "missing_source": missing,
        "center": [*scale, *[0.5] * (width - len(values))],
        "scale": [*scale, *[1.0] * (width - len(values))],
    })  # fmt: skip


def draw_raw(schema: Schema, rows: int, seed: int = 3) -> NDArray[np.float64]:
    """Draw valid customers, with gaps where a feature may have them."""
    generator = np.random.default_rng(seed)
    columns = []
    for feature in schema.features:
        low = next((b for b in (feature.trained_minimum, feature.minimum) if b is not None), 0.0)
        high = next((b for b in (feature.trained_maximum, feature.maximum) if b is not None), low + 50.0)
        if not feature.is_quantity:
            low, high = 0.0, float(max(1, len(feature.levels) - 1))
        column = generator.uniform(low, high, rows)
        column = column if feature.kind == "number" else column.round()
        columns.append(np.where(generator.random(rows) < 0.2, np.nan, column) if feature.nullable else column)
    return np.column_stack(columns)


def make_network(width: int, seed: int = 7, outputs: int = 1) -> onnx.ModelProto:
    """Make an MLP of the size that ships, 64-32-1, with weights drawn from one seed."""
    generator = np.random.default_rng(seed)
    sizes = (width, 64, 32, outputs)
    nodes, weights, name = [], [], "matrix"
    for layer, (rows, columns) in enumerate(pairwise(sizes)):
        drawn = generator.normal(0, rows**-0.5, (rows, columns)).astype(np.float32)
        weights += [numpy_helper.from_array(drawn, f"w{layer}"),
                    numpy_helper.from_array(np.zeros(columns, np.float32), f"b{layer}")]  # fmt: skip
        nodes.append(helper.make_node("Gemm", [name, f"w{layer}", f"b{layer}"], [f"g{layer}"]))
        nodes.append(helper.make_node("Sigmoid" if layer == 2 else "Relu", [f"g{layer}"], [f"a{layer}"]))
        name = f"a{layer}"
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("matrix", TensorProto.FLOAT, ["n", width])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", outputs])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def probability_of(folder: Path, schema: Schema, preprocessor: Preprocessor, customer: dict[str, Any]) -> float:
    raw = encode_columns(schema, {name: [customer.get(name)] for name in schema.names})
    session = onnxruntime.InferenceSession((folder / ONNX_FILE).read_bytes(), providers=["CPUExecutionProvider"])
    return float(session.run(None, {"matrix": preprocessor.transform(raw)})[0][0, 0])


if __name__ == "__main__":  # python tests/service/bundles.py FOLDER: a model to try the service by hand
    sys.stdout.write(f"{publish(Path(sys.argv[1]))}\n")
