"""All numbers of the report and the model card, computed once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from churn.measures import ranking as weighted
from churn.measures.intervals import Interval, bootstrap, chance_calibration_error
from training.evaluate import Scores, score
from training.report.importance import Importance, permutation_importance
from training.report.profit import break_even, contact_profit, expected_maximum_profit, profit_at, profit_curve
from training.report.reasons import Reasoned, explain_part
from training.report.subgroups import Subgroup, judge_subgroups
from training.report.summary import Column, summarise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.measures.ranking import Ranking
    from training.evaluate import Part
    from training.report.data import Costs, ReportData

MEASURES = (
    "log_loss",
    "roc_auc",
    "average_precision",
    "accuracy",
    "precision",
    "recall",
    "brier_score",
    "lift",
    "selection_rate",
    "bias",
    "profit",
    "break_even_profit",
    "expected_maximum_profit",
)
"""Metrics with a bootstrap interval."""


@dataclass(frozen=True, slots=True)
class ThresholdRow:
    """Metrics at one threshold; precision is None if nobody is contacted."""

    threshold: float
    precision: float | None
    recall: float
    accuracy: float
    contacted: float
    profit: float
    is_chosen: bool
    is_break_even: bool


@dataclass(frozen=True, slots=True)
class Analysis:
    """Evaluation of one model.

    Attributes
    ----------
    part : str
        Name of the part used for the evaluation.
    customers, leavers : int
        Counts in that part.
    caveat : str
        Limitation of the evaluation on this part; empty for the test set.
    scores : mapping of str to Scores
        Metrics of each part that has both classes.
    measures : mapping of str to Interval
        `MEASURES` on the evaluated part.
    chance_error : float
        95th percentile of the calibration error of a perfectly calibrated model.
    constant_log_loss, constant_accuracy : float
        Metrics of predicting the mean probability, or "stays", for everyone.
    break_even : float or None
        Probability above which contacting a customer is profitable.
    best_threshold : float
        Most profitable threshold on this part, in hindsight; 1 if contacting nobody is best.
    everyone_profit : float
        Profit per customer if all are contacted.
    thresholds : list of ThresholdRow
    importance : Importance
    subgroups : list of Subgroup
    columns : list of Column
    reasons : Reasoned or None
        Reasons of customers of that part; None for a version without a background.
    """

    part: str
    customers: int
    leavers: int
    caveat: str
    scores: dict[str, Scores]
    measures: dict[str, Interval]
    chance_error: float
    constant_log_loss: float
    constant_accuracy: float
    break_even: float | None
    best_threshold: float
    everyone_profit: float
    thresholds: list[ThresholdRow]
    importance: Importance
    subgroups: list[Subgroup]
    columns: list[Column]
    reasons: Reasoned | None

    @property
    def base_rate(self) -> float:
        """Share of leavers in the evaluated part."""
        return self.leavers / self.customers


_ANALYSES: WeakKeyDictionary[ReportData, Analysis] = WeakKeyDictionary()


def analyse(data: ReportData) -> Analysis:
    """Compute all numbers; the result is cached for the same data."""
    if data not in _ANALYSES:
        _ANALYSES[data] = _analyse(data)
    return _ANALYSES[data]


def _list_once(data: ReportData) -> list[Part]:
    """Return the parts in which each customer is once: a cross-validation has the customers of the training set."""
    again = "validation" if data.is_cross_validated else ""
    return [part for name, part in data.parts.items() if len(part.labels) and name != again]


def _analyse(data: ReportData) -> Analysis:
    part = data.judged_part()
    labels, probabilities = part.labels, part.probabilities
    base_rate = float(labels.mean())
    importance = permutation_importance(data.predict, part.raw, labels, seed=data.seed)
    threshold = break_even(data.costs)
    measures = bootstrap(labels, probabilities, _Measure(data.threshold, threshold, data.costs), seed=data.seed)
    best, _, profits = profit_curve(labels, probabilities, data.costs)
    return Analysis(
        part=part.name,
        customers=len(labels),
        leavers=int(labels.sum()),
        caveat=_find_caveat(part.name, cross_validated=data.is_cross_validated),
        scores={
            name: score(other.labels, other.probabilities, data.threshold)
            for name, other in data.parts.items()
            if len(np.unique(other.labels)) > 1
        },
        measures=dict(zip(MEASURES, measures, strict=True)),
        chance_error=chance_calibration_error(probabilities, seed=data.seed),
        constant_log_loss=float(-base_rate * np.log(base_rate) - (1 - base_rate) * np.log(1 - base_rate)),
        constant_accuracy=max(base_rate, 1 - base_rate),
        break_even=threshold,
        best_threshold=float(best[profits.argmax()]),
        everyone_profit=float(contact_profit(labels, data.costs).mean()),
        thresholds=_tabulate_thresholds(part, data.threshold, threshold, data.costs),
        importance=importance,
        subgroups=judge_subgroups(data.schema, part, data.threshold, importance.means, seed=data.seed),
        columns=summarise(data.schema, _list_once(data)),
        reasons=None if data.explainer is None else explain_part(data.explainer, data.schema, part, seed=data.seed),
    )


def _find_caveat(name: str, *, cross_validated: bool) -> str:
    if name == "test":
        return ""
    if name == "validation" and cross_validated:
        return (
            "No test set was held out. The numbers are from a cross-validation of the training set: each customer is "
            "scored by the models that were not trained on this customer. The published network combines the models of "
            "all folds and is not evaluated on others; feature selection and the weights of the models used all "
            "customers as well."
        )
    if name == "validation":
        return (
            "No test set was held out. The model is evaluated on the validation set, which also determined "
            "when training stopped: expect slightly worse results on new customers."
        )
    return (
        "No customers were held out. The model is evaluated on the customers it was trained on: these numbers are too "
        "optimistic and say little about new customers."
    )


@dataclass(frozen=True, slots=True)
class _Measure:
    """Computes `MEASURES` of a weighted ranking, in this order."""

    threshold: float
    break_even: float | None
    costs: Costs

    def __call__(self, ranking: Ranking, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        left, probabilities = ranking.labels == 1, ranking.probabilities
        selected = probabilities > self.threshold
        total, contacted = weights.sum(), weights @ selected
        profits = contact_profit(ranking.labels, self.costs) * weights
        paying = probabilities > (2.0 if self.break_even is None else self.break_even)
        right = np.where(left, probabilities, 1 - probabilities)
        return np.array(
            [
                -(weights @ np.log(np.maximum(right, np.finfo(np.float64).eps))) / total,
                weighted.roc_auc(ranking, weights),
                weighted.average_precision(ranking, weights),
                weights @ (selected == left) / total,
                weighted.share(weights @ (selected & left), contacted),
                weighted.share(weights @ (selected & left), weights @ left),
                weights @ (1 - right) ** 2 / total,
                weighted.lift(ranking, weights),
                contacted / total,
                weights @ (probabilities - left) / total,
                profits @ selected / total,
                profits @ paying / total,
                expected_maximum_profit(ranking, weights, self.costs).profit,
            ]
        )


def _tabulate_thresholds(part: Part, chosen: float, paying: float | None, costs: Costs) -> list[ThresholdRow]:
    thresholds = {round(0.1 * step, 1) for step in range(1, 10)} | {chosen}
    if paying is not None:
        thresholds.add(paying)
    left = part.labels == 1
    rows = []
    for threshold in sorted(thresholds):
        selected = part.probabilities > threshold
        rows.append(
            ThresholdRow(
                threshold=threshold,
                precision=float(left[selected].mean()) if selected.any() else None,
                recall=float(selected[left].mean()),
                accuracy=float((selected == left).mean()),
                contacted=float(selected.mean()),
                profit=profit_at(part.labels, part.probabilities, threshold, costs),
                is_chosen=threshold == chosen,
                is_break_even=threshold == paying,
            )
        )
    return rows
