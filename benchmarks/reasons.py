"""Compare the reasons with shap on one core: `python benchmarks/reasons.py --data Churn_Modelling.csv`.

All explain the same customers with the same network against the same background, which no masker thins. They take
turns customer by customer; times are CPU time, so that load on the machine affects all equally. Brute force spells out
every coalition of the features that the network hears, and is what errors are measured against. shap is asked twice:
about all features, as one would who does not know what the network hears, and about those that it hears.

`--all` explains the whole table and prints the largest deviation from additivity; `--rows` are explained for the
memory. `--http` measures the service instead: requests with and without reasons, and others beside them.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import resource
import time
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from reasons_http import measure_http

from churn.bundle import Bundle
from churn.registry import Registry
from churn.scorer import Scorer, load_scorer

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Explain = Callable[[NDArray[np.float64]], NDArray[np.float64]]

BATCH = 50
"""Customers that ours explains together, beside one by one."""


@dataclass
class Entrant:
    """An explainer with what was measured of it."""

    explain: Explain
    seconds: list[float] = field(default_factory=list)
    values: list[NDArray[np.float64]] = field(default_factory=list)


def load(models: Path, data: Path, customers: int) -> tuple[Scorer, NDArray[np.float64]]:
    """Return the current version, with a background chosen anew if it has none of this size, and the raw table."""
    from training.background import choose_background
    from training.dataset import load_dataset

    scorer = load_scorer(Registry(models).current_folder(), "onnx")
    raw = load_dataset(data).raw
    if scorer.background is None or len(scorer.background) != customers:
        chosen = choose_background(raw, scorer.score_raw, 0, customers)
        scorer = Scorer(Bundle(scorer.folder, scorer.manifest, chosen), scorer.engine)
    return scorer, raw


def spell_out(
    predict: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    heard: NDArray[np.int64],
    background: NDArray[np.float64],
    customer: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the Shapley values by their definition, in one batch of all coalitions times all background customers."""
    count, features = len(heard), len(customer)
    taken = (np.arange(1 << count)[:, None] >> np.arange(count) & 1).astype(bool)
    mixed = np.repeat(background[None], len(taken), axis=0)
    for coalition, chosen in zip(mixed, taken, strict=True):
        coalition[:, heard[chosen]] = customer[heard[chosen]]
    means = predict(mixed.reshape(-1, features)).reshape(len(taken), -1).mean(axis=1)
    values = np.zeros(features)
    sizes = taken.sum(axis=1)
    for place, feature in enumerate(heard):
        without = np.flatnonzero(~taken[:, place])
        weights = np.array([math.factorial(s) * math.factorial(count - s - 1) for s in sizes[without]])
        values[feature] = (weights * (means[without | 1 << place] - means[without])).sum() / math.factorial(count)
    return values


def make_peers(
    scorer: Scorer, features: NDArray[np.int64], background: NDArray[np.float64]
) -> dict[str, Entrant]:  # fmt: skip
    """Return shap's explainers of some features; the others keep the values of a background customer."""
    import shap

    template, width = background[:1], background.shape[1]

    def predict(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        raw = np.repeat(template, len(matrix), axis=0)
        raw[:, features] = matrix
        return scorer.predict(raw).astype(np.float64)

    seen = background[:, features]
    masker = shap.maskers.Independent(seen, max_samples=len(seen))
    assert len(masker.data) == len(background)  # noqa: S101  not thinned
    exact = shap.explainers.ExactExplainer(predict, masker)
    permutation = shap.explainers.PermutationExplainer(predict, masker, seed=0)
    kernel, sampling = shap.KernelExplainer(predict, seen), shap.SamplingExplainer(predict, seen)

    def adapt(explain: Callable[[NDArray[np.float64]], Any]) -> Explain:
        def run(raw: NDArray[np.float64]) -> NDArray[np.float64]:
            values = np.zeros((len(raw), width))
            with redirect_stderr(io.StringIO()):  # progress bars
                values[:, features] = explain(raw[:, features])
            return values

        return run

    return {
        "ExactExplainer": Entrant(adapt(lambda rows: exact(rows).values)),
        "PermutationExplainer": Entrant(adapt(lambda rows: permutation(rows).values)),
        "KernelExplainer": Entrant(adapt(lambda rows: kernel.shap_values(rows, silent=True))),
        "SamplingExplainer": Entrant(adapt(lambda rows: sampling.shap_values(rows, silent=True))),
    }


def compare(scorer: Scorer, customers: NDArray[np.float64], batch: NDArray[np.float64]) -> None:
    """Explain customers with each entrant in turn, and print the table."""
    from churn.reasons.explainer import Explainer

    explainer = Explainer(scorer)
    background, everything = explainer.background, np.arange(customers.shape[1])

    def predict(raw: NDArray[np.float64]) -> NDArray[np.float64]:
        return scorer.predict(raw).astype(np.float64)

    brute = Entrant(lambda raw: spell_out(predict, explainer.heard, background, raw[0])[None])
    entrants = {"ours": Entrant(lambda raw: explainer.explain(raw).points), "brute force, NumPy": brute}
    for title, features in ((f"{len(everything)} features", everything), ("the heard ones", explainer.heard)):
        entrants |= {f"shap {name}, {title}": one for name, one in make_peers(scorer, features, background).items()}
    for one in entrants.values():
        one.explain(customers[:1])
    together = []
    for row in range(len(customers)):
        for one in entrants.values():
            start = time.process_time()
            one.values.append(one.explain(customers[row : row + 1])[0])
            one.seconds.append(time.process_time() - start)
        start = time.process_time()
        explainer.explain(batch)
        together.append((time.process_time() - start) / len(batch))
    print(f"\n{len(customers)} customers, a background of {len(background)}, {len(explainer.heard)} heard features\n")
    print("| explainer | ms a customer | customers/s | times ours | largest error | mean error |")
    print("|---|---|---|---|---|---|")
    ours = float(np.median(entrants["ours"].seconds))
    for name, one in entrants.items():
        error = np.abs(np.array(one.values) - np.array(brute.values))
        took = float(np.median(one.seconds))
        speed = f"{1e3 * took:.2f} | {1 / took:,.0f} | {took / ours:.1f}"
        print(f"| {name} | {speed} | {error.max():.1g} | {error.mean():.1g} |")
    took = float(np.median(together))
    print(f"| ours, {len(batch)} customers together | {1e3 * took:.2f} | {1 / took:,.0f} | {took / ours:.1f} | | |")


def check_all(scorer: Scorer, raw: NDArray[np.float64]) -> None:
    """Explain the whole table; print deviations from additivity and from the served probabilities."""
    from churn.reasons.explainer import Explainer
    from churn.reasons.rounding import DECIMALS, round_points

    explainer = Explainer(scorer)
    start = time.process_time()
    found = explainer.explain(raw)
    seconds = time.process_time() - start
    served = scorer.score_raw(raw)
    sums = explainer.base + found.points.sum(axis=1)
    rounded, base = round_points(found.points, served, explainer.base)
    units = 10**DECIMALS
    off = np.rint(rounded * units).sum(axis=1) + round(base * units) - np.rint(served * units)
    print(
        f"\n{len(raw):,} customers in {seconds:.1f} s of CPU time, {found.evaluations / len(raw):,.0f} evaluations each"
    )
    print(f"largest |base + sum - probability|: {np.abs(sums - found.probabilities).max():.1e}")
    print(f"largest |base + sum - served probability|: {np.abs(sums - served).max():.1e}")
    print(f"rounded values that don't add up to the served probability: {np.count_nonzero(off)}")


def watch_memory(scorer: Scorer, raw: NDArray[np.float64], rows: int) -> None:
    """Explain few customers, then many; print the peak memory of the process after each."""
    from churn.reasons.explainer import Explainer

    explainer = Explainer(scorer)
    for count in (100, rows):
        explainer.explain(np.resize(raw, (count, raw.shape[1])))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"peak memory after {count:,} customers: {peak:.0f} MiB")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the table that the model was trained on")
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the model versions")
    parser.add_argument("--background", type=int, default=100, help="background customers")
    parser.add_argument("--customers", type=int, default=20, help="customers that all explain")
    parser.add_argument("--rows", type=int, default=2000, help="customers that ours explains for the memory")
    parser.add_argument(
        "--http", type=int, metavar="N", help="measure the service instead, with N requests of each kind"
    )
    parser.add_argument("--all", action="store_true", help="explain the whole table")
    options = parser.parse_args()
    if options.http is not None:
        scorer, raw = load(options.models, options.data, options.background)
        measure_http(scorer, raw, options.http)
        return
    # One core for all libraries; NumPy has counted them already.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    scorer, raw = load(options.models, options.data, options.background)
    watch_memory(scorer, raw, options.rows)
    drawn = raw[np.random.default_rng(1).permutation(len(raw))]
    compare(scorer, drawn[: options.customers], drawn[-BATCH:])
    if options.all:
        check_all(scorer, raw)


if __name__ == "__main__":
    main()
