"""Error of the reasons by size and choice of the background: `python benchmarks/reasons_background.py --data TABLE`.

Customers who are not in the training set are explained against the whole training set, and against backgrounds chosen
as training does and drawn at random, several of each. The table that docs/reasons.md shows.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from reasons import load

from churn.bundle import Bundle
from churn.reasons.explainer import Explainer
from churn.scorer import Scorer
from training.background import choose_background

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIZES = (50, 100, 200, 400, 1000)
SEEDS = 4
CUSTOMERS = 40


def measure(
    scorer: Scorer, backgrounds: list[NDArray[np.float64]], customers: NDArray[np.float64], whole: Explainer
) -> str:  # fmt: skip
    """Return the errors against the whole training set and the time of a customer, as cells of a table."""
    truth = whole.explain(customers).points
    bases, errors, seconds = [], [], []
    for background in backgrounds:
        explainer = Explainer(Scorer(Bundle(scorer.folder, scorer.manifest, background), scorer.engine))
        start = time.process_time()
        points = explainer.explain(customers).points
        seconds.append((time.process_time() - start) / len(customers))
        bases.append(explainer.base - whole.base)
        errors.append(points - truth)
    error = np.array(errors)
    return (
        f"{np.sqrt(np.mean(np.square(bases))):.4f} | {np.sqrt((error**2).mean()):.4f} | "
        f"{np.abs(error).max(axis=2).mean():.4f} | {np.abs(error).max():.4f} | {1e3 * float(np.median(seconds)):.2f}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the table that the model was trained on")
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the model versions")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    scorer, raw = load(options.models, options.data, 100)
    shuffled = raw[np.random.default_rng(0).permutation(len(raw))]
    train, customers = shuffled[CUSTOMERS:], shuffled[:CUSTOMERS]
    whole = Explainer(Scorer(Bundle(scorer.folder, scorer.manifest, train), scorer.engine))
    print("| background | base, rms | value, rms | worst of a customer, mean | worst of all | ms a customer |")
    print("|---|---|---|---|---|---|")
    for size in SIZES:
        drawn = [np.random.default_rng(seed).choice(train, size, replace=False) for seed in range(SEEDS)]
        print(f"| {size} drawn at random | {measure(scorer, drawn, customers, whole)} |")
        chosen = [choose_background(train, scorer.score_raw, seed, size) for seed in range(SEEDS)]
        print(f"| {size} chosen | {measure(scorer, chosen, customers, whole)} |", flush=True)


if __name__ == "__main__":
    main()
