"""Compare churn train with peers on a folder of real tables: `python benchmarks/tables.py FOLDER --seeds 0-2`.

The folder contains NAME.csv files, and a `tables.toml` with a table [NAME] for each: label, left (the label value of
leavers), and optionally separator, drop (columns with leaks, for all models), peers_drop (identifiers, which `churn
train` detects itself), leave_out_rows (a third label value to exclude), words (columns in which "None" or "unknown" is
a value) and dates (columns with the format day-month-year).

For each seed there is a stratified 80/20 split, and the test set is scored once. Ours is `churn train` with default
options, followed by `churn score`; rejected rows get the share of leavers as probability. `quick`, `student` and
`streamed` are the same with `--quick`, `--budget 10` and `--stream`. Each result is stored as a line of JSON, so that
an interrupted run resumes.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from quality import parse_seeds
from sklearn.model_selection import StratifiedKFold, train_test_split
from tqdm import tqdm

from training.evaluate import score

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[np.int64]

OURS = {"ours": [], "quick": ["--quick"], "student": ["--budget", "10"], "streamed": ["--stream"]}
"""Options of `churn train`."""
MODELS = ("ours", "catboost-bag", "lightgbm", "logistic")
"""Models that are compared by default."""
MISSING = {"", "na", "nan", "null", "none", "n/a", "#n/a", "nat"}
MISSING_WORD = "(missing)"
MOST_ROWS = 60_000
LEAST = 1e-6
RARE = 10
"""Categories with fewer rows are combined for the logistic regression."""


@dataclass(frozen=True)
class RealTable:
    """A table as strings, with its entry in `tables.toml`."""

    name: str
    about: dict[str, Any]
    frame: pd.DataFrame
    left: NDArray[np.int64]


def main() -> None:
    """Run missing fits, and print the comparison."""
    arguments = parse_arguments()
    known = tomllib.loads((arguments.folder / "tables.toml").read_text(encoding="utf-8"))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    names = arguments.tables.split(",") if arguments.tables else list(known)
    kept = read_results(arguments.output)
    done = {(row["table"], row["seed"], row["model"]) for row in kept}
    models = arguments.models.split(",")
    with tqdm(total=len(names) * len(arguments.seeds) * len(models), desc="fitting", unit="fit") as bar:
        for name in names:
            table = read_table(arguments.folder, name, known[name])
            for seed in arguments.seeds:
                for model in models:
                    if (name, seed, model) not in done:
                        kept.append(fit_once(table, model, seed, arguments.train_options))
                        with arguments.output.open("a", encoding="utf-8") as file:
                            file.write(json.dumps(kept[-1]) + "\n")
                    bar.update()
    print(make_table(kept))


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tables", help="names, separated by commas; all if omitted")
    parser.add_argument("--seeds", type=parse_seeds, default=parse_seeds("0-2"), help="e.g. 0-2 or 3,17")
    parser.add_argument("--models", default=",".join(MODELS), help=f"of {', '.join(KNOWN)}")
    parser.add_argument("--output", type=Path, default=Path("build", "tables.jsonl"), help="file of the results")
    parser.add_argument("train_options", nargs="*", help="further options of churn train, after --")
    return parser.parse_args()


def read_results(path: Path) -> list[dict[str, Any]]:
    """Return the stored results."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def read_table(folder: Path, name: str, about: dict[str, Any]) -> RealTable:
    """Read a table as strings; a random sample if it has more than `MOST_ROWS` rows."""
    frame = pd.read_csv(
        folder / f"{name}.csv", dtype=str, keep_default_na=False, sep=about.get("separator", ","), encoding="utf-8-sig"
    )
    if "leave_out_rows" in about:
        frame = frame[frame[about["label"]] != about["leave_out_rows"]]
    if len(frame) > MOST_ROWS:
        frame = frame.sample(MOST_ROWS, random_state=0)
    frame = frame.reset_index(drop=True)
    left = (frame[about["label"]].str.strip() == about["left"]).to_numpy().astype(np.int64)
    return RealTable(name, about, frame, left)


def type_columns(table: RealTable) -> tuple[pd.DataFrame, list[str]]:
    """Return the features for the peers, and the names of the categories.

    Numbers are floats with NaN, dates are days since 2000-01-01, and missing categories are a separate category.
    """
    about, columns, categories = table.about, {}, []
    unused = {about["label"], *about.get("drop", []), *about.get("peers_drop", [])}
    for name in table.frame.columns:
        text = table.frame[name].str.strip()
        gaps = text.eq("") if name in about.get("words", []) else text.str.lower().isin(MISSING)
        values = text.where(~gaps)
        if name in unused or values.nunique(dropna=False) < 2:
            continue
        numbers = pd.to_numeric(values, errors="coerce")
        if name in about.get("dates", []):
            days = pd.to_datetime(values, format="%d-%m-%y", errors="coerce")
            columns[name] = (days - pd.Timestamp("2000-01-01")).dt.days.astype(float)
        elif numbers[~gaps].notna().all():
            columns[name] = numbers.astype(float)
        else:
            columns[name] = values.fillna(MISSING_WORD)
            categories.append(name)
    return pd.DataFrame(columns), categories


def fit_once(table: RealTable, model: str, seed: int, train_options: list[str]) -> dict[str, Any]:
    """Fit a model on one split, and score the test set."""
    rows = np.arange(len(table.left))
    train, test = train_test_split(rows, test_size=0.2, random_state=seed, stratify=table.left)
    started, used = time.perf_counter(), processor_seconds()
    network: dict[str, Any] = {}
    if model in OURS:
        said, rejected, network = fit_ours(table, train, test, seed, [*OURS[model], *train_options])
    else:
        columns, categories = type_columns(table)
        said, rejected = PEERS[model](columns, categories, table.left, train, test, seed), 0
    labels = table.left[test].astype(np.float64)
    scores = score(labels, np.clip(said, LEAST, 1 - LEAST))
    return {
        "table": table.name,
        "rows": len(rows),
        "seed": seed,
        "model": model,
        "log_loss": scores.log_loss,
        "auc": scores.roc_auc,
        "ece": scores.calibration_error,
        "rejected": rejected,
        "network": network,
        "seconds": round(time.perf_counter() - started, 1),
        "processor_seconds": round(processor_seconds() - used, 1),
    }


def processor_seconds() -> float:
    """Return the CPU seconds used by this process and its finished children."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime + time.process_time()


def fit_ours(
    table: RealTable, train: NDArray[np.int64], test: NDArray[np.int64], seed: int, options: list[str]
) -> tuple[NDArray[np.float64], int, dict[str, Any]]:
    """Run `churn train` and `churn score`.

    Returns
    -------
    said : ndarray of float64, shape (rows of the test set,)
        Probabilities.
    rejected : int
        Number of rejected rows.
    network : dict
        What the manifest says of the network.
    """
    about, label = table.about, table.about["label"]
    churn = [str(Path(sys.executable).with_name("churn"))]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        separator = about.get("separator", ",")
        table.frame.iloc[train].to_csv(folder / "train.csv", index=False, sep=separator)
        table.frame.drop(columns=label).iloc[test].to_csv(folder / "test.csv", index=False, sep=separator)
        models = ["--models", str(folder / "models")]
        drop = [word for column in about.get("drop", []) for word in ("--drop", column.strip())]
        train_command = ["train", str(folder / "train.csv"), "--label", label.strip(), "--test-size", "0"]
        score_command = ["score", str(folder / "test.csv"), "--output", str(folder / "scores.csv")]
        for command in ([*train_command, "--seed", str(seed), *drop, *options], score_command):
            subprocess.run([*churn, *command, *models], check=True, stdout=subprocess.DEVNULL)  # noqa: S603  our own
        probabilities = pd.read_csv(folder / "scores.csv")["probability"].to_numpy()
        rejects = pd.read_csv(folder / "scores.csv.rejects")
        manifest = json.loads((folder / "models" / "1" / "manifest.json").read_text(encoding="utf-8"))
        scored = np.ones(len(test), dtype=bool)
        scored[rejects["row"].unique().astype(np.int64) - 1] = False
        said = np.full(len(test), table.left[train].mean())
        said[scored] = probabilities
    return said, int((~scored).sum()), manifest["network"]


def fit_catboost_bag(
    columns: pd.DataFrame, categories: list[str], left: NDArray[np.int64], train: Rows, test: Rows, seed: int
) -> NDArray[np.float64]:
    """Fit five CatBoost models, each stopped on one fold; return the mean probability."""
    from catboost import CatBoostClassifier, Pool

    inside, said = columns.iloc[train], np.zeros(len(test))
    for fitted, held_out in StratifiedKFold(5, shuffle=True, random_state=seed).split(inside, left[train]):
        pools = [Pool(inside.iloc[rows], left[train][rows], cat_features=categories) for rows in (fitted, held_out)]
        model = CatBoostClassifier(
            depth=5, learning_rate=0.03, l2_leaf_reg=5, iterations=3000, od_type="Iter", od_wait=100,
            random_seed=seed, verbose=False, allow_writing_files=False,
        )  # fmt: skip
        said += model.fit(pools[0], eval_set=pools[1]).predict_proba(columns.iloc[test])[:, 1] / 5
    return said


def fit_lightgbm(
    columns: pd.DataFrame, categories: list[str], left: NDArray[np.int64], train: Rows, test: Rows, seed: int
) -> NDArray[np.float64]:
    """Fit LightGBM with default parameters and early stopping on a fifth of the rows."""
    import lightgbm

    typed = columns.astype(dict.fromkeys(categories, "category"))
    typed.columns = [f"column {number}" for number in range(typed.shape[1])]
    fitted, held_out = train_test_split(train, test_size=0.2, random_state=seed, stratify=left[train])
    model = lightgbm.LGBMClassifier(n_estimators=2000, random_state=seed, verbose=-1)
    stop = lightgbm.early_stopping(50, verbose=False)
    judged = [(typed.iloc[held_out], left[held_out])]
    model.fit(typed.iloc[fitted], left[fitted], eval_set=judged, eval_metric="binary_logloss", callbacks=[stop])
    return np.asarray(model.predict_proba(typed.iloc[test]))[:, 1]


def fit_logistic(
    columns: pd.DataFrame, categories: list[str], left: NDArray[np.int64], train: Rows, test: Rows, seed: int
) -> NDArray[np.float64]:
    """Fit a logistic regression on scaled numbers and one-hot categories."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = [name for name in columns if name not in categories]
    scaled = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=RARE)
    encoder = ColumnTransformer([("numbers", scaled, numbers), ("categories", one_hot, categories)])
    model = make_pipeline(encoder, LogisticRegression(max_iter=2000, random_state=seed))
    model.fit(columns.iloc[train], left[train])
    return np.asarray(model.predict_proba(columns.iloc[test]))[:, 1]


PEERS = {"catboost-bag": fit_catboost_bag, "lightgbm": fit_lightgbm, "logistic": fit_logistic}
KNOWN = (*OURS, *PEERS)


def make_table(rows: list[dict[str, Any]]) -> str:
    """Return the means over the seeds as Markdown: log loss / AUC, and CPU seconds."""
    models = [model for model in KNOWN if any(row["model"] == model for row in rows)]
    lines = [
        "| table | rows | " + " | ".join(f"{model}, log loss / AUC, CPU s" for model in models) + " | ours - bag |",
        "|---" * (len(models) + 3) + "|",
    ]
    ahead = compared = 0
    for name in sorted({row["table"] for row in rows}):
        own = [row for row in rows if row["table"] == name]
        cells = [_cell([row for row in own if row["model"] == model]) for model in models]
        difference = _paired(own)
        compared += difference is not None
        ahead += difference is not None and difference < 0
        last = "" if difference is None else f"{difference:+.4f}"
        lines.append(f"| {name} | {own[0]['rows']:,} | " + " | ".join(cells) + f" | {last} |")
    return "\n".join([*lines, "", f"Ahead of bagged CatBoost in log loss on {ahead} of {compared} tables."])


def _cell(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    loss, auc, used = (np.mean([row[name] for row in rows]) for name in ("log_loss", "auc", "processor_seconds"))
    return f"{loss:.4f} / {auc:.4f}, {used:.0f}"


def _paired(rows: list[dict[str, Any]]) -> float | None:
    losses = {(row["model"], row["seed"]): row["log_loss"] for row in rows}
    differences = [
        loss - losses["catboost-bag", seed]
        for (model, seed), loss in losses.items()
        if model == "ours" and ("catboost-bag", seed) in losses
    ]
    return float(np.mean(differences)) if differences else None


if __name__ == "__main__":
    main()
