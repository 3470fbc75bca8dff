"""Count published probabilities that depend on the engine, the batch or the processor's instructions.

``python benchmarks/digits.py`` simulates customers, scores them in batches with ONNX Runtime and TensorFlow, in
processes with other settings of their kernels too, and compares all six decimals with those of ONNX Runtime, all rows
together.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from churn.columns import encode_columns
from churn.registry import Registry
from churn.scorer import Scorer, load_scorer
from training.simulate import simulate

if TYPE_CHECKING:
    from churn.engines import EngineChoice

ROOT = Path(__file__).resolve().parents[1]
BATCHES = (*range(1, 65), 100, 1000, 10_000)
FEW_BATCHES = (1, 2, 3, 7, 16, 33, 64, 1000, 10_000)
"""Sizes of batches with other settings than the defaults."""
SETTINGS: dict[str, dict[str, str]] = {
    "defaults": {},
    "oneDNN in TensorFlow": {"TF_ENABLE_ONEDNN_OPTS": "1"},
    "oneDNN, SSE 4.1 only": {"TF_ENABLE_ONEDNN_OPTS": "1", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    "oneDNN, AVX2 only": {"TF_ENABLE_ONEDNN_OPTS": "1", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "NumPy without AVX2 and AVX512": {"NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512_SKX"},
    "OpenBLAS for Nehalem": {"OPENBLAS_CORETYPE": "Nehalem"},
    "OpenBLAS for Haswell": {"OPENBLAS_CORETYPE": "Haswell"},
}


def draw(scorer: Scorer, rows: int, seed: int) -> np.ndarray:
    """Return simulated customers as a raw matrix, shape (rows, features)."""
    table = simulate(rows, seed)
    return encode_columns(scorer.schema, {name: table[name] for name in scorer.schema.names})


def score(scorer: Scorer, raw: np.ndarray, size: int) -> np.ndarray:
    """Return the published probabilities of a raw matrix scored in batches, as whole millionths."""
    if size == 1:
        found = np.array([scorer.score_row(row) for row in raw.tolist()])
    else:
        # Encoded together: that works entry by entry.
        matrix = scorer.prepare(raw)
        found = np.concatenate([scorer.infer(matrix[start : start + size]) for start in range(0, len(raw), size)])
    return np.rint(1e6 * found).astype(np.int64)


def compare(folder: Path, engine: EngineChoice, table: Path, batches: list[int]) -> None:
    """Print how many probabilities differ from those stored beside the table, for all sizes of batches together."""
    scorer = load_scorer(folder, engine)
    raw, expected = np.load(table), np.load(table.with_suffix(".expected.npy"))
    print(sum(int((score(scorer, raw, size) != expected).sum()) for size in batches))


def run(arguments: list[str], settings: dict[str, str]) -> int:
    """Run `compare` in a process with these variables; return what it prints."""
    command = [sys.executable, __file__, *arguments]
    return int(subprocess.run(command, env=os.environ | settings, stdout=subprocess.PIPE, check=True).stdout)  # noqa: S603


def measure(folder: Path, rows: int, other_rows: int, seed: int) -> int:
    """Print a table of all settings, engines and sizes of batches; return how many probabilities differ."""
    scorer, total = load_scorer(folder, "onnx"), 0
    raw = draw(scorer, rows, seed)
    expected = score(scorer, raw, len(raw))
    print(f"{len(raw):,} customers, {len(np.unique(expected)):,} different probabilities\n")
    print("| settings | engine | sizes of batches | customers | probabilities that differ | s |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for title, settings in SETTINGS.items():
            table, taken = Path(name, "table.npy"), other_rows if settings else rows
            np.save(table, raw[:taken])
            np.save(table.with_suffix(".expected.npy"), expected[:taken])
            sizes = FEW_BATCHES if settings else BATCHES
            for engine in ("onnx", "tensorflow"):
                started = time.perf_counter()
                differ = run(["--child", str(folder), engine, str(table), ",".join(map(str, sizes))], settings)
                total += differ
                took = time.perf_counter() - started
                print(f"| {title} | {engine} | {len(sizes)} | {taken:,} | {differ:,} | {took:.0f} |", flush=True)
    return total


def main() -> None:
    """Compare all engines, sizes of batches and settings, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=ROOT / "models")
    parser.add_argument("--rows", type=int, default=1_000_000, help="simulated customers")
    parser.add_argument("--other-rows", type=int, default=100_000, help="those scored with other settings")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        folder, engine, table, sizes = options.child
        compare(Path(folder), engine, Path(table), [int(size) for size in sizes.split(",")])
        return
    differ = measure(Registry(options.models).current_folder(), options.rows, options.other_rows, options.seed)
    print(f"\nprobabilities that differ, all together: {differ:,}")
    raise SystemExit(bool(differ))


if __name__ == "__main__":
    main()
