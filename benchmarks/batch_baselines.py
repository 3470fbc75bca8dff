"""Other ways to score a file of customers, for comparison in ``batch.py``; each runs in a separate process.

``python benchmarks/batch_baselines.py floor|naive|naive-large INPUT OUTPUT``, both .csv or both .parquet.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from churn.runtime.imports import block_imports  # noqa: E402

MODEL = HERE.parent / "models" / "1"
IDENTIFIER = "CustomerId"
FEATURES = (
    "CreditScore",
    "Geography",
    "Gender",
    "Age",
    "Tenure",
    "Balance",
    "NumOfProducts",
    "HasCrCard",
    "IsActiveMember",
    "EstimatedSalary",
)
LARGE = 8192


@block_imports()
def floor(source: Path, output: Path) -> None:
    """Read the required columns and write constant result columns, batch by batch."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    wanted = [IDENTIFIER, *FEATURES]
    form = pa.schema(
        [
            (IDENTIFIER, pa.string()),
            ("probability", pa.float64()),
            ("churn", pa.bool_()),
            ("model_version", pa.string()),
        ]
    )
    if source.suffix == ".csv":
        convert = csv.ConvertOptions(include_columns=wanted, column_types={IDENTIFIER: pa.string()})
        batches = csv.open_csv(source, convert_options=convert)
        writer = csv.CSVWriter(output, form)
    else:
        batches = parquet.ParquetFile(source).iter_batches(columns=wanted)
        writer = parquet.ParquetWriter(output, form)
    with writer:
        for batch in batches:
            constants = [pa.repeat(pa.scalar(value), len(batch)) for value in (0.5, False, "1")]
            identifier = batch.column(IDENTIFIER).cast(pa.string())
            writer.write(pa.record_batch([identifier, *constants], schema=form))


def naive(source: Path, output: Path, batch_size: int | None = None) -> None:
    """Score like a simple script with pandas, scikit-learn and Keras."""
    import joblib
    import keras
    import pandas as pd

    import churn.layers  # noqa: F401  registers custom layers

    table = pd.read_csv(source) if source.suffix == ".csv" else pd.read_parquet(source)
    transformer = joblib.load(MODEL / "preprocessor.joblib")  # scikit-learn's ColumnTransformer and StandardScaler
    network = keras.saving.load_model(MODEL / "model.keras")
    matrix = transformer.transform(table[[*FEATURES]].to_numpy(object))
    probability = network.predict(matrix.astype("float32"), batch_size=batch_size, verbose=0)[:, 0]
    result = pd.DataFrame(
        {IDENTIFIER: table[IDENTIFIER], "probability": probability, "churn": probability > 0.5, "model_version": "1"}
    )
    if output.suffix == ".csv":
        result.to_csv(output, index=False)
    else:
        result.to_parquet(output, index=False)


if __name__ == "__main__":
    way, *paths = sys.argv[1:]
    given, wanted = map(Path, paths)
    if way == "floor":
        floor(given, wanted)
    else:
        naive(given, wanted, LARGE if way == "naive-large" else None)
