"""Ablation of the default network: `python benchmarks/ablation.py --seeds 200-202`.

Each component is removed separately, and the network that would be published is evaluated. For each seed, the test set
is split off as in `churn train` and not used; the rest is cross-validated, and differences are paired by customer. The
ensemble is smaller than the default (--folds, --repeats) to save time. Each fit is stored in the output folder, so that
an interrupted run resumes. The first fold of every seed is fitted before the second of any, so that --parts 1 gives a
first result that --parts 5 continues.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import matplotlib as mpl
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from quality import ROOT, fingerprint, parse_seeds
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from churn.runtime.files import write_aside
from training.dataset import Dataset, load_dataset
from training.default.config import Config
from training.default.survey import WORKED_OUT_FROM, Survey, survey
from training.default.teach import make_student
from training.default.teachers import Teachers
from training.default.trees import fold, loss
from training.lesson import Lesson, Result
from training.networks import NETWORKS
from training.preprocess import Encoding, fit_preprocessor
from training.publication import Taught
from training.split import split_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

PARTS = 5
ENCODING = NETWORKS["default"].encoding


@dataclass(frozen=True)
class Variant:
    """The default network with one component removed or changed.

    Attributes
    ----------
    title : str
    changes : dict
        Changes of the configuration.
    encoding : Encoding
    calibrated : bool
    distilled : bool
        Whether the distilled network is evaluated, otherwise its teachers.
    """

    title: str
    changes: dict[str, Any] = field(default_factory=dict)
    encoding: Encoding = ENCODING
    calibrated: bool = True
    distilled: bool = True


EVERYTHING = "everything"
# Variants with the same teachers follow each other, because teachers are cached until others are requested.
VARIANTS = {
    EVERYTHING: Variant("complete"),
    "calibration": Variant("no calibration", calibrated=False),
    "made-up": Variant("no synthetic customers for distillation", {"synthetic_rows": 1}),
    "student": Variant("no distillation: the teachers themselves", distilled=False),
    "columns": Variant("no feature selection", {"keep_columns": -1e9}),
    "tails": Variant("no tail indicators", {"max_tails": 0}),
    "spikes": Variant("no indicators of frequent values", encoding=replace(ENCODING, spike_share=1.0)),
    "levels": Variant(
        "no one-hot encoding of numbers with few values", encoding=replace(ENCODING, max_levels=0, only_levels=0)
    ),
    "trees": Variant("no trees among the teachers", {"tree_weight": 0.0}),
    "bag": Variant("one network instead of the ensemble", {"folds": 1, "repeats": 1}),
    "dropout": Variant("no dropout", {"dropout": 0.0}),
    "noise": Variant("no noise on numbers", {"noise": 0.0}),
    "decay": Variant("no weight decay", {"weight_decay": 0.0}),
    "averaging": Variant("no averaged weights", {"averaging": 0.0}),
    "floor": Variant("no probability floor", {"label_noise": 0.0}),
    "shipped": Variant("the default ensemble (10 folds, 3 networks each)", {"folds": 10, "repeats": 3}),
}


def main() -> None:
    """Run missing fits, then write the table and the figure."""
    arguments = parse_arguments()
    dataset = load_dataset(arguments.data)
    arguments.output.mkdir(parents=True, exist_ok=True)
    base = replace(Config(), folds=arguments.folds, repeats=arguments.repeats)
    units = [(seed, part) for part in range(arguments.parts) for seed in arguments.seeds]
    with tqdm(total=len(units) * len(arguments.variants), desc="fitting", unit="fit") as bar:
        for seed, part in units:
            bench = Bench(dataset, base, seed, part)
            for name in arguments.variants:
                path = result_path(arguments, name, seed, part)
                if not path.exists():
                    bench.fit(VARIANTS[name], path)
                bar.update()
    results = {
        name: [dict(np.load(result_path(arguments, name, seed, part))) for seed, part in units]
        for name in arguments.variants
    }
    comparisons = {name: compare(results[name], results[EVERYTHING]) for name in results if name != EVERYTHING}
    table = make_table(comparisons, results[EVERYTHING], arguments)
    (arguments.output / "ablation.md").write_text(table, encoding="utf-8")
    draw(comparisons, arguments.output / "ablation.svg")
    print(table)


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=parse_seeds, default=parse_seeds("200-202"), help="e.g. 200-202 or 3,17")
    parser.add_argument(
        "--parts", type=int, choices=range(1, PARTS + 1), default=PARTS, help=f"number of the {PARTS} folds to use"
    )
    parser.add_argument(
        "--variants",
        type=parse_variants,
        default=list(VARIANTS),
        help=f"variants, separated by commas: {', '.join(VARIANTS)}",
    )
    parser.add_argument("--folds", type=int, default=5, help="folds of the ensemble")
    parser.add_argument("--repeats", type=int, default=1, help="networks per fold")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "Churn_Modelling.csv")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "ablation", help="folder for the results")
    return parser.parse_args()


def parse_variants(text: str) -> list[str]:
    """Parse a list of variants; `EVERYTHING` is always added in front."""
    names = text.split(",")
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(VARIANTS)}")
    return [EVERYTHING, *(name for name in VARIANTS if name in names and name != EVERYTHING)]


def result_path(arguments: argparse.Namespace, name: str, seed: int, part: int) -> Path:
    """Return the path of a stored fit, which contains the digest of its code."""
    bag = f"{arguments.folds}x{arguments.repeats}"
    return Path(arguments.output / f"{name}-{fingerprint('ours')}-{bag}-{seed}-{part}.npz")


class Bench:
    """One fold of the cross-validation of one seed, with cached results that several variants share.

    Parameters
    ----------
    dataset : Dataset
    base : Config
        Configuration of the complete method.
    seed, part : int
    """

    def __init__(self, dataset: Dataset, base: Config, seed: int, part: int) -> None:
        rest = split_rows(dataset.labels, test_size=0.2, validation_size=0.0, seed=seed).train
        taught, left_out = list(fold(dataset.labels[rest].astype(np.float32), PARTS, seed))[part]
        self._dataset, self._base, self._seed = dataset, base, seed
        self._taught, self._left_out = rest[taught], rest[left_out]
        self._surveys: dict[Any, Survey] = {}
        self._teachers: dict[Any, Teachers] = {}

    def fit(self, variant: Variant, path: Path) -> None:
        """Fit one variant and store its predictions for the held-out customers."""
        probabilities = self.judge(variant)
        labels = self._dataset.labels[self._left_out]
        losses = loss(labels.astype(np.float32), probabilities)
        with write_aside(path) as aside, aside.open("wb") as file:
            np.savez(file, rows=self._left_out, labels=labels, losses=losses, probabilities=probabilities)

    def judge(self, variant: Variant) -> NDArray[np.float64]:
        """Return the probabilities of the held-out customers, shape (n,)."""
        keras.backend.clear_session()
        keras.utils.set_random_seed(self._seed)
        tf.config.experimental.enable_op_determinism()
        config = replace(self._base, **variant.changes)
        raw, labels = self._dataset.raw[self._taught], self._dataset.labels[self._taught].astype(np.float32)
        transformer, preprocessor = fit_preprocessor(self._dataset.schema, raw, variant.encoding)
        matrix, other = preprocessor.transform(raw), self._dataset.raw[self._left_out]
        shared = (variant.encoding, *(getattr(config, name) for name in WORKED_OUT_FROM))
        with threadpool_limits(1, user_api="openmp"):
            if shared not in self._surveys:
                self._surveys[shared] = survey(matrix, labels, preprocessor, config, self._seed)
            found = self._surveys[shared]
            key = (variant.encoding, replace(config, synthetic_rows=1))
            if key not in self._teachers:
                self._teachers = {key: Teachers(matrix, labels, found, config, self._seed, show=False)}
            teachers = self._teachers[key]
            kept = teachers.slope, teachers.offset
            if not variant.calibrated:
                teachers.slope, teachers.offset = 1.0, 0.0
            if variant.distilled:
                lesson = Lesson(matrix, labels, preprocessor, config, self._seed)
                model = make_student(lesson, found, teachers)
                probabilities = Taught(transformer, preprocessor, Result(model, teachers.history)).predict(other)
            else:
                probabilities = teachers.judge(preprocessor.transform(other))
            teachers.slope, teachers.offset = kept
        return probabilities


@dataclass(frozen=True)
class Comparison:
    """Difference between a variant and the complete method: log loss with 95 % interval, and AUC."""

    mean: float
    low: float
    high: float
    auc: float


def compare(fits: list[dict[str, Any]], everything: list[dict[str, Any]]) -> Comparison:
    """Compare the fits of a variant with those of the complete method.

    A customer occurs in several seeds, so the standard error is computed from sums by customer.
    """
    rows = np.concatenate([fit["rows"] for fit in fits])
    differences = np.concatenate([fit["losses"] - other["losses"] for fit, other in zip(fits, everything, strict=True)])
    mean = differences.mean()
    reach = 1.96 * np.sqrt((np.bincount(rows, weights=differences - mean) ** 2).sum()) / len(differences)
    aucs = [
        roc_auc_score(fit["labels"], fit["probabilities"]) - roc_auc_score(other["labels"], other["probabilities"])
        for fit, other in zip(fits, everything, strict=True)
    ]
    return Comparison(float(mean), float(mean - reach), float(mean + reach), float(np.mean(aucs)))


def make_table(
    comparisons: dict[str, Comparison], everything: list[dict[str, Any]], arguments: argparse.Namespace
) -> str:
    """Return a Markdown table of the differences."""
    mean = np.concatenate([fit["losses"] for fit in everything]).mean()
    auc = np.mean([roc_auc_score(fit["labels"], fit["probabilities"]) for fit in everything])
    ensemble = f"an ensemble of {arguments.folds} folds and {arguments.repeats} network(s) per fold"
    lines = [
        f"Seeds {', '.join(map(str, arguments.seeds))}, {arguments.parts} of {PARTS} folds each, {ensemble}.",
        f"Complete method: log loss {mean:.4f}, AUC {auc:.4f}.",
        "",
        "| removed or changed | log loss, difference from complete [95 %] | AUC, difference from complete |",
        "|---|---|---|",
    ]
    for name, found in comparisons.items():
        span = f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
        lines.append(f"| {VARIANTS[name].title} | {span} | {found.auc:+.4f} |")
    return "\n".join(lines) + "\n"


def draw(comparisons: dict[str, Comparison], path: Path) -> None:
    """Draw the difference in log loss with its interval, one row per variant."""
    mpl.rcParams["svg.hashsalt"] = "ablation"
    figure = Figure(figsize=(9, 0.36 * len(comparisons) + 1.2), layout="constrained")
    axes = figure.subplots()
    for row, found in enumerate(comparisons.values()):
        color = "#d55e00" if found.low > 0 else "#0072b2" if found.high < 0 else "#777777"
        axes.plot([found.low, found.high], [row, row], color=color, linewidth=2)
        axes.plot([found.mean], [row], "o", color=color)
    axes.axvline(0, color="#000000", linewidth=1)
    axes.set_yticks(range(len(comparisons)), [VARIANTS[name].title for name in comparisons])
    axes.invert_yaxis()
    axes.grid(axis="x", color="#dddddd")
    axes.set_xlabel("difference in log loss from the complete method, in nats (right: worse), with 95 % interval")
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
