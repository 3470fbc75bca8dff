"""Excess log loss over the true probabilities: `python benchmarks/excess_loss.py --rows 20000 --seeds 1-3`.

The true probability p of a simulated customer is known. On new customers, the expected log loss of a network that
predicts q is the mean of -p·log q - (1-p)·log(1-q), and that of the true probabilities is the same with q = p. Their
difference is the mean Kullback-Leibler divergence, which does not depend on random labels. ``--stream`` trains like
``churn train --stream``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from churn.columns import encode_columns  # noqa: E402
from training.simulate import TRUTH, simulate, write_simulated  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from churn.schema import Schema

FRESH_ROWS, FRESH_SEED = 1_000_000, 987_654_321
"""Number and seed of the customers for the evaluation; no training table is drawn with this seed."""


def measure_excess_loss(
    predict: Callable[[NDArray[np.float64]], NDArray[np.float64]], schema: Schema
) -> dict[str, float]:
    """Return the expected log loss of the true probabilities and of a network, and their difference, in nats."""
    fresh = simulate(FRESH_ROWS, FRESH_SEED, truth=True)
    truth = fresh[TRUTH]
    columns: dict[str, Any] = {
        name: fresh[name].tolist() if fresh[name].dtype.kind == "O" else fresh[name] for name in schema.names
    }
    predicted = np.clip(predict(encode_columns(schema, columns)), 1e-6, 1 - 1e-6)
    best, model = (float(-(truth * np.log(q) + (1 - truth) * np.log(1 - q)).mean()) for q in (truth, predicted))
    return {"truth": best, "model": model, "difference": model - best}


def main() -> None:
    """Train and evaluate for each seed, and print a table."""
    options = parse_arguments()
    header = (
        "rows",
        "seed",
        "trained on",
        "log loss of the true probabilities",
        "of the network",
        "difference",
        "seconds",
    )
    print(f"| {' | '.join(header)} |\n{'|---' * len(header)}|")
    differences = []
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "customers.parquet"
            write_simulated(source, options.rows, seed)
            began = time.perf_counter()
            trained_on, found = (train_streamed if options.stream else train)(source, seed, options.test_size)
        differences.append(found["difference"])
        print(
            f"| {options.rows:,} | {seed} | {trained_on:,} | {found['truth']:.5f} | {found['model']:.5f} | "
            f"{found['difference']:.5f} | {time.perf_counter() - began:.0f} |",
            flush=True,
        )
    print(f"\nmean difference {np.mean(differences):.5f}, from {min(differences):.5f} to {max(differences):.5f}")


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000, help="number of simulated customers")
    parser.add_argument(
        "--seeds", type=parse_seeds, default=[1, 2, 3], help="seeds of table and training, e.g. 1-3 or 1,5"
    )
    parser.add_argument(
        "--test-size", type=float, default=0.0, help="fraction held out in addition to the new customers"
    )
    parser.add_argument("--stream", action="store_true", help="stream the table instead of loading it into memory")
    return parser.parse_args()


def parse_seeds(text: str) -> list[int]:
    """Parse ``1-3`` or ``1,5``."""
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        seeds += range(int(first), int(last or first) + 1)
    return seeds


def train(source: Path, seed: int, test_size: float) -> tuple[int, dict[str, float]]:
    """Train in memory; return the number of training rows and the excess loss."""
    from training import job
    from training.dataset import load_dataset

    dataset = load_dataset(source)
    options = job.Options(seed=seed, test_size=test_size)
    rows = job.choose_rows(dataset.labels, options)
    return len(rows["train"]), measure_excess_loss(job.fit(dataset, rows, options).predict, dataset.schema)


def train_streamed(source: Path, seed: int, test_size: float) -> tuple[int, dict[str, float]]:
    """Train on a streamed table; return the number of training rows and the excess loss."""
    from training.job import Options
    from training.streaming import job, spread
    from training.streaming.settings import Streaming

    streaming = Streaming()
    with spread.open_streamed(source, spread.Split(test_size, streaming.validation_size, seed)) as table:
        fitted = job.fit(table, replace(Options(), seed=seed), streaming)
        return table.counts["train"], measure_excess_loss(fitted.predict, table.sample.schema)


if __name__ == "__main__":
    main()
