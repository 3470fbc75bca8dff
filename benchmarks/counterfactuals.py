"""Compare counterfactuals with a random search: cost, customers without any, time.

``python benchmarks/counterfactuals.py --data Churn_Modelling.csv`` draws customers who are predicted to leave, and
searches for changes that bring each to the threshold. The random search scores 100,000 changed customers for each: it
draws up to four actionable fields, and a value for each among the same allowed values; with ``--unrounded``, any number
in their range. Each customer is searched with the marks of the schema (of the known table, if the model has none), and
with further fields marked, which makes the search harder.

The cost is the number of changed fields, then the distance (docs/what-if.md). Ratios of distances are given where both
change the same number of fields. Without ``--data``, customers are simulated.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from churn.registry import Registry
from churn.scorer import load_scorer
from churn.whatif.axes import make_axes
from churn.whatif.counterfactuals import MAX_CHANGES, propose
from churn.whatif.steps import Run
from training.infer import document
from training.simulate import write_simulated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from churn.schema import Schema
    from churn.scorer import Scorer
    from churn.whatif.axes import Axis
    from churn.whatif.counterfactuals import Proposals
    from churn.whatif.subsets import Goal

Cost = tuple[int, float]
"""Changed fields and distance."""


@dataclass
class Tally:
    """What was found for one customer, and the seconds it took."""

    mine: Cost | None
    theirs: Cost | None
    seconds: float
    random_seconds: float
    evaluations: int


def read_customers(path: Path, schema: Schema) -> NDArray[np.float64]:
    """Return the raw matrix, shape (n, features), of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return np.array([[f.parse(record[f.name]) for f in schema.features] for record in csv.DictReader(file)])


def choose_customers(scorer: Scorer, data: Path | None, count: int, seed: int) -> NDArray[np.float64]:
    """Return customers who are predicted to leave, drawn from a table or simulated."""
    if data is None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "customers.csv"
            write_simulated(path, 10_000, seed)
            raw = read_customers(path, scorer.schema)
    else:
        raw = read_customers(data, scorer.schema)
    leaving = np.flatnonzero(scorer.decide(scorer.score_raw(raw)))
    return raw[np.random.default_rng(seed).choice(leaving, min(count, len(leaving)), replace=False)]


def search_at_random(
    scorer: Scorer,
    row: NDArray[np.float64],
    axes: Sequence[Axis],
    goal: Goal,
    tries: int,
    seed: int,
    *,
    unrounded: bool,
) -> Cost | None:
    """Return the cost of the best of random changes; None if none reaches the goal."""
    draw = np.random.default_rng(seed)
    raw, distances = np.repeat(row[None], tries, axis=0), np.zeros(tries)
    sizes = draw.integers(1, min(MAX_CHANGES, len(axes)) + 1, tries)
    ranks = draw.random((tries, len(axes))).argsort(axis=1)
    for rank, axis in zip(ranks.T, axes, strict=True):
        places = draw.integers(0, len(axis.values), tries)
        values, far = axis.values[places], axis.distances[places]
        if unrounded and scorer.schema.features[axis.position].kind == "number":
            values = draw.uniform(axis.values[0], axis.values[-1], tries)
            own = row[axis.position]
            far = np.abs(values - own) * axis.distances[0] / abs(axis.values[0] - own)
        changed = rank < sizes
        raw[changed, axis.position] = values[changed]
        distances[changed] += far[changed]
    reached = goal.is_reached(scorer.score_raw(raw))
    if not reached.any():
        return None
    fewest = int(sizes[reached].min())
    return fewest, float(distances[reached & (sizes == fewest)].min())


def compare(
    scorer: Scorer,
    schema: Schema,
    row: NDArray[np.float64],
    target: float,
    tries: int,
    seed: int,
    *,
    unrounded: bool,
) -> Tally:
    """Search for one customer in both ways, and check what was proposed."""
    histograms = scorer.manifest.content["histograms"]
    started = time.perf_counter()
    run: Run[Proposals] = Run(scorer, propose(schema, histograms, row, target))
    found = run.finish()
    seconds = time.perf_counter() - started
    axes, _ = make_axes(schema, histograms, row)
    check(scorer, row, axes, found)
    started = time.perf_counter()
    theirs = search_at_random(scorer, row, axes, found.goal, tries, seed, unrounded=unrounded) if axes else None
    mine = (len(found.found[0].changes), found.found[0].distance) if found.found else None
    return Tally(mine, theirs, seconds, time.perf_counter() - started, run.evaluations)


def check(scorer: Scorer, row: NDArray[np.float64], axes: Sequence[Axis], found: Proposals) -> None:
    """Score every proposal again, and compare its values with those that are allowed.

    Raises
    ------
    AssertionError
        If a proposal has another probability, misses the goal or has a value that is not allowed.
    """
    allowed = {axis.position: axis.values for axis in axes}
    for one in found.found:
        changed = row.copy()
        for change in one.changes:
            changed[change.position] = change.value
            if change.value not in allowed[change.position]:
                raise AssertionError(f"{change} is not allowed")
        again = scorer.score_row(changed.tolist())
        if again != one.probability or not found.goal.is_reached(np.array([again])).all():
            raise AssertionError(f"{one} scores {again}")


def report(name: str, tallies: Sequence[Tally]) -> None:
    """Print the comparison."""
    both = [(tally.mine, tally.theirs) for tally in tallies if tally.mine and tally.theirs]
    ratios = sorted(mine[1] / theirs[1] for mine, theirs in both if mine[0] == theirs[0])
    fewer = sum(mine[0] < theirs[0] for mine, theirs in both) + sum(
        tally.mine is not None and tally.theirs is None for tally in tallies
    )
    more = sum(mine[0] > theirs[0] for mine, theirs in both) + sum(
        tally.mine is None and tally.theirs is not None for tally in tallies
    )
    times = [1000 * tally.seconds for tally in tallies]
    evaluations = [tally.evaluations for tally in tallies]
    print(f"{name}: {len(tallies)} customers")
    print(f"  none found: {sum(t.mine is None for t in tallies)}; random: {sum(t.theirs is None for t in tallies)}")
    print(f"  fewer fields than random, or found alone: {fewer}; more fields, or missed: {more}")
    if ratios:
        print(
            f"  distance / random's, same number of fields ({len(ratios)}): best {ratios[0]:.3f}, "
            f"median {statistics.median(ratios):.3f}, worst {ratios[-1]:.3f}"
        )
    print(f"  ms: median {statistics.median(times):.1f}, most {max(times):.1f}; random: median "
          f"{statistics.median(1000 * t.random_seconds for t in tallies):.1f}")  # fmt: skip
    print(f"  evaluations: median {statistics.median(evaluations):.0f}, most {max(evaluations)}")


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--customers", type=int, default=50)
    parser.add_argument("--tries", type=int, default=100_000)
    parser.add_argument("--target", type=float, help="by default the threshold")
    parser.add_argument("--also", default="Balance,CreditScore,EstimatedSalary", help="further fields to mark")
    parser.add_argument("--unrounded", action="store_true", help="let the random search propose unrounded numbers")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    scorer = load_scorer(Registry(options.models).current_folder(), "onnx")
    schema = scorer.schema
    if not any(feature.actionable for feature in schema.features):
        schema = document(schema)
    also = options.also.split(",")
    more = replace(
        schema, features=tuple(replace(f, actionable="any") if f.name in also else f for f in schema.features)
    )
    rows = choose_customers(scorer, options.data, options.customers, options.seed)
    target = scorer.threshold if options.target is None else options.target
    for name, marked in (("marked fields", schema), (f"and {options.also}", more)):
        names = ", ".join(feature.name for feature in marked.features if feature.actionable)
        report(
            f"{name} ({names})",
            [
                compare(scorer, marked, row, target, options.tries, seed, unrounded=options.unrounded)
                for seed, row in enumerate(rows)
            ],
        )


if __name__ == "__main__":
    main()
