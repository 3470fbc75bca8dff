"""Ablation of the default network: `python benchmarks/ablation.py --data TABLE --seeds 200-202`.

Each variant removes or changes one component, and the published network is evaluated. For each seed, the test set of
`churn train` is split off and not used. The rest is cross-validated, and differences are paired by customer. Each fit
is stored in the output folder, so that an interrupted run resumes. The first fold of all seeds precedes the second
folds, so `--parts 1` gives a first estimate that `--parts 5` continues.

A variant without a family of the stack is not fitted again: its weights are fitted without that family's logits.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from quality import ROOT, fingerprint, parse_seeds
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from churn.runtime.files import write_aside
from training import job
from training.context import Result, TrainingContext
from training.dataset import Dataset, load_dataset
from training.default.assemble import LINEAR, TAILS, TREES, assemble
from training.default.config import Config
from training.default.folds import losses_of, split_folds
from training.default.members import KINDS, STANDARD
from training.default.stack import fit_stack
from training.default.train import Fitted, fit
from training.split import split_rows
from training.trained import FittedModel

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

PARTS = 5
LEAST = 1e-6
"""Minimum distance of probabilities from 0 and 1."""


@dataclass(frozen=True)
class Variant:
    """The default network with one component removed or changed.

    Attributes
    ----------
    title : str
    changes : dict
        Changed values of the configuration.
    without : tuple of str
        Families left out of the stack.
    """

    title: str
    changes: dict[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()


EVERYTHING = "everything"
VARIANTS = {
    EVERYTHING: Variant("complete"),
    "trees": Variant("no trees", without=(TREES,)),
    "linear": Variant("no linear model", without=(LINEAR,)),
    "networks": Variant("no networks", without=KINDS),
    "binned": Variant("no networks on bins and normal scores", without=tuple(set(KINDS) - {STANDARD})),
    "standard": Variant("no networks on standard scores", without=(STANDARD,)),
    "tails": Variant("no tails", without=(TAILS,)),
    "kinds": Variant("only networks with one hidden layer", {"networks": 1}),
    "features": Variant("all features kept", {"importance_steps": (), "strict_importance": -1e9}),
    "strict": Variant("networks use only the features of the trees", {"strict_importance": -1e9}),
    "depth": Variant("only trees of depth 6", {"tree_depths": (6,)}),
    "budget": Variant("a quarter of the trees", {"tree_comparisons": Config().tree_comparisons // 4}),
    "bins": Variant("4 bins per number", {"bins": 4}),
    "dropout": Variant("no dropout", {"dropout": 0.0}),
    "noise": Variant("no noise on normal scores", {"noise": 0.0}),
    "decay": Variant("no weight decay", {"weight_decay": 0.0}),
    "averaging": Variant("no weight averaging", {"averaging": 0.0}),
    "folds": Variant("10 folds", {"folds": 10}),
}


def main() -> None:
    """Run missing fits, then write the table and the figure."""
    arguments = parse_arguments()
    dataset = load_dataset(arguments.data, label=arguments.label)
    arguments.output.mkdir(parents=True, exist_ok=True)
    base = replace(Config(), folds=arguments.folds)
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
    (arguments.output / f"{arguments.data.stem}.md").write_text(table, encoding="utf-8")
    draw(comparisons, arguments.output / f"{arguments.data.stem}.svg")
    print(table)


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=parse_seeds, default=parse_seeds("200-202"), help="e.g. 200-202 or 3,17")
    parser.add_argument(
        "--parts", type=int, choices=range(1, PARTS + 1), default=PARTS, help=f"number of the {PARTS} folds to use"
    )
    parser.add_argument("--variants", type=parse_variants, default=list(VARIANTS), help=f"of {', '.join(VARIANTS)}")
    parser.add_argument("--folds", type=int, default=Config().folds, help="folds of the inner cross-validation")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "Churn_Modelling.csv")
    parser.add_argument("--label", help="label of the table, if training does not find it")
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
    """Return the path of a stored fit, which contains a digest of its code."""
    code = fingerprint("ours")
    return Path(arguments.output / f"{arguments.data.stem}-{name}-{code}-{arguments.folds}-{seed}-{part}.npz")


class Bench:
    """Fits variants on one fold of the cross-validation of one seed.

    Parameters
    ----------
    dataset : Dataset
    base : Config
        Configuration of the complete method.
    seed, part : int
    """

    def __init__(self, dataset: Dataset, base: Config, seed: int, part: int) -> None:
        rest = split_rows(dataset.labels, test_size=0.2, validation_size=0.0, seed=seed).train
        fitted, left_out = split_folds(dataset.labels[rest], PARTS, seed)[part]
        self._dataset, self._base, self._seed = dataset, base, seed
        self._fitted, self._left_out = rest[fitted], rest[left_out]
        self._whole: tuple[Pipeline, TrainingContext, Fitted] | None = None

    def fit(self, variant: Variant, path: Path) -> None:
        """Fit one variant and store its predictions for the held-out customers."""
        probabilities = self.judge(variant)
        labels = self._dataset.labels[self._left_out]
        inside = np.clip(probabilities, LEAST, 1 - LEAST)
        losses = losses_of(labels, np.log(inside / (1 - inside)))
        with write_aside(path) as aside, aside.open("wb") as file:
            np.savez(file, rows=self._left_out, labels=labels, losses=losses, probabilities=probabilities)

    def judge(self, variant: Variant) -> NDArray[np.float64]:
        """Return the probabilities of the held-out customers, shape (n,)."""
        keras.backend.clear_session()
        if not variant.changes:
            return self._judge_stack(variant.without)
        options = job.Options(seed=self._seed, config=replace(self._base, **variant.changes))
        return job.fit(self._dataset, {"train": self._fitted}, options).predict(self._dataset.raw[self._left_out])

    def _judge_stack(self, without: tuple[str, ...]) -> NDArray[np.float64]:
        """Return the probabilities of a stack of all families but some, all from one fit."""
        if self._whole is None:
            options = job.Options(seed=self._seed, config=self._base)
            transformer, context = job.prepare(self._dataset, self._fitted, options)
            with threadpool_limits(1):
                self._whole = transformer, context, fit(context)
        transformer, context, fitted = self._whole
        logits = {family: one for family, one in fitted.logits.items() if family not in without}
        stack = fit_stack(logits, context.labels)
        weights = dict.fromkeys(fitted.logits, 0.0) | stack.weights
        model = assemble(fitted.families, weights, stack.bias, context.matrix.shape[1])
        published = FittedModel(transformer, context.preprocessor, Result(model, {}))
        return published.predict(self._dataset.raw[self._left_out])


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
    seeds = ", ".join(map(str, arguments.seeds))
    lines = [
        f"{arguments.data.name}, seeds {seeds}, {arguments.parts} of {PARTS} folds each, {arguments.folds} inner ones.",
        f"Complete: log loss {mean:.4f}, AUC {auc:.4f}.",
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
