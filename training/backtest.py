"""Evaluate a published model on a labelled table, and write a report."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from churn.errors import TableError
from churn.reasons.explainer import Explainer
from churn.runtime.files import write_aside
from churn.scorer import load_scorer
from training.customers import read_customers
from training.dataset import check_faults, encode_table
from training.evaluate import Part, Scores, score
from training.report.data import Costs, ReportData
from training.report.page import write_report
from training.tables import list_faults

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from churn.engines import EngineChoice
    from churn.scorer import Scorer
    from training.customers import Customers
    from training.table_options import OnBadRow

REPORT_ROWS = 100_000
"""Maximum number of customers for figures, intervals and tables of the report; scores use all customers."""


@dataclass(frozen=True, slots=True)
class Choices:
    """Options of an evaluation.

    Attributes
    ----------
    label, positive, negative : str or None
        See `training.table_options.TableOptions`. Default to those of the model's training.
    drop_rows : sequence of str
    decimal : {".", ","} or None
    on_bad_row : {"refuse", "drop"}
    threshold : float or None
        A customer is predicted to leave above this probability. Defaults to the model's threshold.
    costs : Costs
    """

    label: str | None = None
    positive: str | None = None
    negative: str | None = None
    drop_rows: Sequence[str] = ()
    decimal: str | None = None
    on_bad_row: OnBadRow = "refuse"
    threshold: float | None = None
    costs: Costs = field(default_factory=Costs)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Evaluation of a version on a table.

    Attributes
    ----------
    version : int
    threshold : float
    scores : Scores
        Metrics on the table.
    trained : dict
        Metrics on the test set of the training, from the manifest; empty if there was none.
    source : dict
        File, SHA-256 and row counts of the table.
    notes : tuple of str
        Descriptions of excluded rows, one sentence each.
    report : ReportData
    """

    version: int
    threshold: float
    scores: Scores
    trained: dict[str, Any]
    source: dict[str, Any]
    notes: tuple[str, ...]
    report: ReportData

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the summary file."""
        return {
            "version": self.version,
            "threshold": self.threshold,
            "data": {**self.source, "notes": list(self.notes)},
            "scores": asdict(self.scores),
            "trained": self.trained,
        }

    def write_report(self, path: Path) -> None:
        """Write the report atomically."""
        with write_aside(path) as aside:
            write_report(aside, self.report)


def evaluate(
    folder: Path, data: Path, choices: Choices, engine: EngineChoice = "auto", command: str = ""
) -> Evaluation:
    """Evaluate a version on a labelled table.

    Parameters
    ----------
    folder : Path
        Folder of the version.
    data : Path
        A CSV or Parquet file with the label.
    choices : Choices
    engine : {"auto", "onnx", "tensorflow"}
    command : str
        Command line, for the report.

    Raises
    ------
    BundleError, EngineError
        If the version can't be loaded.
    TableError
        If the table is invalid, or all customers have the same label.
    """
    scorer = load_scorer(folder, engine)
    content = scorer.manifest.content
    known = content["data"].get("classes", {}) if (choices.positive, choices.negative) == (None, None) else {}
    found = read_customers(
        data,
        label=choices.label,
        schema=scorer.schema,
        positive=choices.positive or known.get("left"),
        negative=choices.negative or known.get("stayed"),
        drop_rows=choices.drop_rows,
        decimal=choices.decimal,
    )
    raw, labels, source, notes = _encode(scorer, found, choices.on_bad_row)
    probabilities = scorer.score_raw(raw)
    threshold = scorer.threshold if choices.threshold is None else choices.threshold
    part = Part("test", raw, labels, probabilities)
    scores = score(labels, probabilities, threshold)
    report = ReportData(
        version=scorer.manifest.version,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        network=content["network"]["name"],
        parameters=content["network"]["parameters"],
        seed=content["seed"],
        threshold=threshold,
        schema=scorer.schema,
        source=source,
        notes=notes,
        history={},
        parts={"test": _draw(part, content["seed"])},
        predict=scorer.score_raw,
        settings=content["settings"],
        libraries=content["libraries"],
        command=command,
        costs=choices.costs,
        scores={"test": scores},
        program=content["program"],
        explainer=None if scorer.background is None else Explainer(scorer),
        is_backtest=True,
    )
    trained = content["metrics"].get("test", {})
    return Evaluation(scorer.manifest.version, threshold, scores, trained, source, notes, report)


def _encode(
    scorer: Scorer, found: Customers, on_bad_row: OnBadRow
) -> tuple[NDArray[np.float64], NDArray[np.float64], dict[str, Any], tuple[str, ...]]:
    """Return the raw matrix and labels of valid rows, and notes on the others."""
    table = found.table
    raw, wrong = encode_table(table, scorer.schema)
    faults = [*found.faults, *wrong]
    check_faults(table.path, faults, on_bad_row)
    good = ~np.isin(table.lines, [fault.line for fault in faults])
    bad = len({fault.line for fault in table.faults}) + int((~good).sum())
    notes = found.notes
    if bad:
        notes = (*notes, f"{bad} rows are left out for {len(faults)} faults:\n{list_faults(faults)}")
    raw, labels = raw[good], found.labels[good]
    if len(np.unique(labels)) < 2:
        raise TableError(f"{table.path}: all {len(labels)} customers have the same label, so nothing can be evaluated")
    source = {
        "file": table.path.name,
        "sha256": table.sha256,
        "rows": found.rows,
        "rows_used": len(labels),
        "rows_left_out": found.left_out,
        "rows_with_faults": bad,
        "positive_share": float(labels.mean()),
        "has_identifier": scorer.schema.identifier in table.columns,
    }
    return raw, labels, source, notes


def _draw(part: Part, seed: int) -> Part:
    """Return a random sample if a part is large."""
    if len(part.labels) <= REPORT_ROWS:
        return part
    rows = np.sort(np.random.default_rng(seed).permutation(len(part.labels))[:REPORT_ROWS])
    return replace(part, raw=part.raw[rows], labels=part.labels[rows], probabilities=part.probabilities[rows])
