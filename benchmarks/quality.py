"""Compare our network with its peers on the same splits: `python benchmarks/quality.py --seeds 0-9`.

For each seed there is a stratified 64/16/20 split into training, validation and test set. A model is fitted on the
first, stopped and calibrated on the second (ensembles may cross-validate over both), and scores the third once. Each
fit is stored in the output folder, so that an interrupted run resumes; fits are repeated when their code or the table
has changed.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from code_digest import digest
from matplotlib.figure import Figure
from peers import PEERS
from tqdm import tqdm

from churn.measures.shares import calibration_error
from training.dataset import Dataset, load_dataset
from training.default.config import Config
from training.evaluate import score
from training.split import split_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

OURS = {"ours": {}, "student": {"config": Config(budget=10.0)}, "reference": {"network": "reference"}}
"""Options of `churn train` by name; `student` is distilled into about 10 µs per row, as `models/1` is."""
MODELS = ("ours", "student", "catboost-bag", "catboost", "lightgbm", "tabm", "logistic", "reference")
SCORES = {
    "log_loss": "log loss ↓",
    "roc_auc": "AUC ↑",
    "average_precision": "AP ↑",
    "accuracy": "accuracy ↑",
    "brier_score": "Brier ↓",
    "calibration_error": "ECE ↓",
    "lift": "lift at 10 % ↑",
}
BOOTSTRAPS = 10_000
ROOT = Path(__file__).parents[1]


def main() -> None:
    """Run missing fits, then write the table and the figure."""
    arguments = parse_arguments()
    dataset = load_dataset(arguments.data)
    arguments.output.mkdir(parents=True, exist_ok=True)
    with tqdm(total=len(arguments.models) * len(arguments.seeds), desc="fitting", unit="fit") as bar:
        for model in arguments.models:
            # One process per model, because loading both PyTorch and TensorFlow crashes a process.
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                for seed in arguments.seeds:
                    path = result_path(arguments.output, dataset, model, seed)
                    if not path.exists():
                        process.submit(fit_once, dataset, model, seed, path).result()
                    bar.update()
    results = {
        model: [read_result(result_path(arguments.output, dataset, model, seed)) for seed in arguments.seeds]
        for model in arguments.models
    }
    table = make_table(results, arguments.seeds)
    (arguments.output / "quality.md").write_text(table, encoding="utf-8")
    draw(results, arguments.output / "quality.svg")
    print(table)


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=parse_seeds, default=parse_seeds("0-9"), help="e.g. 0-9 or 3,17,20-24")
    parser.add_argument("--models", type=parse_models, default=list(MODELS), help=f"of {', '.join([*OURS, *PEERS])}")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "Churn_Modelling.csv")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "quality", help="folder for the results")
    return parser.parse_args()


def parse_seeds(text: str) -> list[int]:
    """Parse ``0-9`` or ``3,17,20-24``."""
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        seeds += range(int(first), int(last or first) + 1)
    return seeds


def parse_models(text: str) -> list[str]:
    """Parse a list of model names."""
    models, known = text.split(","), [*OURS, *PEERS]
    unknown = [model for model in models if model not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    return models


def result_path(output: Path, dataset: Dataset, model: str, seed: int) -> Path:
    """Return the path of a stored fit, which contains digests of its code and of the table."""
    return output / f"{model}-{fingerprint(model)}-{dataset.source['sha256'][:8]}-{seed}.json"


@functools.cache
def fingerprint(model: str) -> str:
    """Return a digest of the code that splits the table and fits a model."""
    if model in OURS:
        entries = [("training.job", "fit"), ("training.job", "Options")]
    else:
        entries = [(PEERS[model].__module__, PEERS[model].__name__)]
    return digest([*entries, ("training.split", "split_rows")])


def read_result(path: Path) -> dict[str, Any]:
    """Load a stored fit and compute its metrics."""
    kept: dict[str, Any] = json.loads(path.read_text())
    labels, probabilities = np.array(kept["labels"], dtype=np.float64), np.array(kept["probabilities"])
    return kept | {"scores": asdict(score(labels, probabilities))}


def fit_once(dataset: Dataset, model: str, seed: int, path: Path) -> None:
    """Fit one model on one split and store its test probabilities."""
    split = split_rows(dataset.labels, test_size=0.2, validation_size=0.2, seed=seed)
    started = time.perf_counter()
    if model in OURS:
        from training import job

        # The steps of `churn train` between the table and the bundle, cross-validated over the rows of the protocol.
        rows = {"train": np.concatenate([split.train, split.validation])}
        predict = job.fit(dataset, rows, job.Options(seed=seed, **OURS[model])).predict
    else:
        train, validation = ((dataset.raw[part], dataset.labels[part]) for part in (split.train, split.validation))
        predict = PEERS[model](dataset.schema, train, validation, seed)
    seconds = time.perf_counter() - started
    labels, probabilities = dataset.labels[split.test], predict(dataset.raw[split.test]).astype(np.float64)
    kept = {
        "model": model,
        "seed": seed,
        "seconds": round(seconds, 1),
        "labels": labels.astype(int).tolist(),
        "probabilities": probabilities.round(7).tolist(),
    }
    aside = path.with_suffix(".tmp")
    aside.write_text(json.dumps(kept))
    aside.replace(path)


def make_table(results: dict[str, list[dict[str, Any]]], seeds: list[int]) -> str:
    """Return the means, and the differences between ours and each peer, as Markdown."""
    header = ["model", *SCORES.values(), "pooled ECE ↓", "seconds per fit"]
    lines = [
        f"Mean over {len(seeds)} splits (seeds {', '.join(map(str, seeds))}), test set, scored once.",
        "",
        "| " + " | ".join(header) + " |",
        "|" + "---|" * len(header),
    ]
    for model, fits in results.items():
        means = [np.mean([fit["scores"][name] for fit in fits]) for name in SCORES]
        pooled = calibration_error(
            np.concatenate([fit["labels"] for fit in fits]).astype(np.float64),
            np.concatenate([fit["probabilities"] for fit in fits]),
        )
        cells = [f"{mean:.4f}" for mean in means] + [
            f"{pooled:.4f}",
            f"{np.mean([fit['seconds'] for fit in fits]):.0f}",
        ]
        lines.append(f"| {model} | " + " | ".join(cells) + " |")
    if "ours" in results and len(results) > 1:
        lines += ["", *compare(results)]
    return "\n".join(lines) + "\n"


def compare(results: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Return the differences between ours and each peer, with bootstrap intervals over the splits."""
    lines = [
        "Difference between ours and the peer per split (log loss: below 0 is better; AUC: above 0 is better), with",
        "the 95 % interval of the mean from a bootstrap over the splits. The splits share customers, so the intervals",
        "are somewhat too narrow.",
        "",
        "| against | log loss | splits ahead | AUC | splits ahead |",
        "|---|---|---|---|---|",
    ]
    for model, fits in results.items():
        if model == "ours":
            continue
        cells = []
        for name, sign in (("log_loss", -1), ("roc_auc", 1)):
            pairs = zip(results["ours"], fits, strict=True)
            differences = np.array([ours["scores"][name] - peer["scores"][name] for ours, peer in pairs])
            low, high = bootstrap_interval(differences)
            cells.append(f"{differences.mean():+.4f} [{low:+.4f}, {high:+.4f}]")
            cells.append(f"{int((sign * differences > 0).sum())} of {len(differences)}")
        lines.append(f"| {model} | " + " | ".join(cells) + " |")
    return lines


def bootstrap_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % percentile interval of the mean."""
    generator = np.random.default_rng(0)
    means = generator.choice(values, (BOOTSTRAPS, len(values))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def draw(results: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Draw log loss and AUC of every fit, one row per model, with the mean as a bar."""
    mpl.rcParams["svg.hashsalt"] = "quality"
    figure = Figure(figsize=(10, 0.55 * len(results) + 1.4), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2, sharey=True), ("log_loss", "roc_auc"), strict=True):
        for row, (model, fits) in enumerate(results.items()):
            values = [fit["scores"][name] for fit in fits]
            color = "#0072b2" if model == "ours" else "#777777"
            axes.plot(values, [row] * len(values), "o", color=color, alpha=0.45, markersize=5)
            axes.plot([np.mean(values)] * 2, [row - 0.3, row + 0.3], color=color, linewidth=2.5)
        axes.set_xlabel(SCORES[name])
        axes.grid(axis="x", color="#dddddd")
        axes.set_yticks(range(len(results)), list(results))
    figure.axes[0].invert_yaxis()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
