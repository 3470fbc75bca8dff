"""Whether the stated support holds on customers held out: `python benchmarks/support.py --data TABLE --seeds 0-1`.

For each seed, a fifth of the customers is held out and the others are divided into two halves, on each of which a
network is trained. What one of the two states of the customers held out is compared with what the other one says of
them: its probability should be in the stated range in nine of ten cases. The stated share of customers as far from
their neighbours should be found among the customers held out. The table that docs/reasons.md shows.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from churn.reasons.networks import find_features
from churn.reasons.support import SupportFinder
from churn.trust.support import MEMBERS_FILE, NEIGHBOURS_FILE, read_support
from training.dataset import load_dataset
from training.default.config import Config
from training.export import load_onnx
from training.job import Options, fit
from training.onnx_network import write_onnx
from training.support import write_support

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.reasons.support import Support
    from training.dataset import Dataset

HELD_OUT = 0.2
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


class Stated(NamedTuple):
    """Probabilities of one network, and what it states of them."""

    probabilities: NDArray[np.float64]
    support: list[Support]


def state(dataset: Dataset, rows: NDArray[np.int64], customers: NDArray[np.float64], options: Options) -> Stated:
    """Train on some rows, and return what is stated of customers."""
    fitted = fit(dataset, {"train": np.sort(rows)}, options)
    preprocessor, result = fitted.preprocessor, fitted.result
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_onnx(result.model, folder / "model.onnx")
        heard = find_features((folder / "model.onnx").read_bytes(), preprocessor.sources)
        raw, members = dataset.raw[rows], result.members
        entry = write_support(folder, dataset.schema, raw, heard, members, preprocessor.transform, options.seed)
        data = read_support(folder, {"support": entry}, dataset.schema, {NEIGHBOURS_FILE, MEMBERS_FILE})
    if data is None:
        raise SystemExit("the network hears nothing, so there is no support")
    matrix = preprocessor.transform(customers)
    probabilities = load_onnx(result.model).predict(matrix).astype(np.float64)
    finder = SupportFinder(data, preprocessor.width)
    found = [
        finder.find(customers[row : row + 1], matrix[row : row + 1], float(probability))
        for row, probability in enumerate(probabilities)
    ]
    return Stated(probabilities, found)


def is_covered(one: Stated, other: Stated) -> NDArray[np.bool_]:
    """Return for each customer whether the other network is within the range that one states."""
    return np.array([
        support.low is not None and support.high is not None and support.low <= probability <= support.high
        for support, probability in zip(one.support, other.probabilities.tolist(), strict=True)
    ])  # fmt: skip


def report(pairs: list[tuple[Stated, Stated]]) -> None:
    """Print what was claimed and what was found."""
    covered = np.concatenate([is_covered(*pair) for pair in pairs])
    shares = np.array([support.share for one, _ in pairs for support in one.support])
    widths = np.array([(s.high or 0) - (s.low or 0) for one, _ in pairs for s in one.support])
    apart = np.abs(np.concatenate([one.probabilities - other.probabilities for one, other in pairs]))
    print(f"{len(covered)} statements; claimed within the range 90 %, found {covered.mean():.1%}")
    print("| customers | statements | within the range | width, median | networks apart, median |")
    print("|---|---|---|---|---|")
    fifths = np.searchsorted(np.quantile(widths, (0.2, 0.4, 0.6, 0.8)), widths)
    groups = [(f"range: fifth {number + 1} of 5", fifths == number) for number in range(5)]
    groups += [("share at most 5 %", shares <= 0.05), ("share above 5 %", shares > 0.05)]
    for name, group in groups:
        print(
            f"| {name} | {group.sum()} | {covered[group].mean():.1%} | {np.median(widths[group]):.3f} | "
            f"{np.median(apart[group]):.3f} |"
        )
    print("| claimed: a share of at most | found among customers held out |")
    print("|---|---|")
    for share in SHARES:
        print(f"| {share:.0%} | {(shares <= share).mean():.1%} |")


def main() -> None:
    """Train, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a training table")
    parser.add_argument("--label", help="label column; by default as churn train finds it")
    parser.add_argument("--id", help="identifier column; by default as churn train finds it")
    parser.add_argument("--budget", type=float, default=10.0, help="as for churn train; 0 publishes the stack")
    parser.add_argument("--seeds", default="0-0", help="first and last seed")
    options = parser.parse_args()
    dataset = load_dataset(options.data, label=options.label, identifier=options.id)
    first, last = map(int, options.seeds.split("-"))
    pairs = []
    for seed in range(first, last + 1):
        order = np.random.default_rng(seed).permutation(len(dataset.labels))
        held_out, rest = np.split(order, [int(HELD_OUT * len(order))])
        settings = Options(seed=seed, config=replace(Config(), budget=options.budget))
        one, other = (state(dataset, half, dataset.raw[held_out], settings) for half in np.array_split(rest, 2))
        pairs += [(one, other), (other, one)]
    report(pairs)


if __name__ == "__main__":
    main()
