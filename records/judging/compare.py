"""Champion and challenger on the same recorded customers: paired differences, and whether to promote.

The champion is judged by its recorded probabilities. The challenger scores the recorded inputs of the same customers.
Both are compared on the customers that both can score, and only on outcomes that were not known yet when the
challenger was trained: it may have learnt the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from churn.dates import write_date
from churn.errors import TableError
from churn.measures.influence import Estimate, estimate_auc, estimate_log_loss, estimate_precision, estimate_recall
from churn.measures.sample import Sample, number_persons
from records import times
from records.judging.inputs import encode_inputs, find_usable
from records.judging.join import DAY, Joined, find_newest_day, join_month, list_months
from records.judging.measures import describe, measure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.measures.intervals import Interval
    from churn.scorer import Scorer
    from records.judging.judge import Plan
    from records.store import RecordStore

Comparison = dict[str, Any]

FEW_LEAVERS = 100
"""With fewer leavers or stayers, a comparison says nothing."""

_COMPARED = {
    "log_loss": estimate_log_loss,
    "roc_auc": estimate_auc,
    "precision": estimate_precision,
    "recall": estimate_recall,
}


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """Customers with the outcome and both probabilities; arrays of shape (n,)."""

    labels: NDArray[np.float64]
    champion: NDArray[np.float64]
    challenger: NDArray[np.float64]
    champion_selects: NDArray[np.bool_]
    challenger_selects: NDArray[np.bool_]
    customers: NDArray[np.int64]


def compare(
    store: RecordStore, plan: Plan, champion: str, challenger: Scorer, *, include_known: bool = False
) -> Comparison:
    """Compare two versions on the judged records of the first one.

    Parameters
    ----------
    store : RecordStore
    plan : Plan
    champion : str
        The version whose records are used.
    challenger : Scorer
    include_known : bool
        Use also outcomes that were known when the challenger was trained.

    Returns
    -------
    dict
        ``champion``, ``challenger``, ``customers``, ``left_out`` (counts by reason), ``measures`` by version,
        ``differences`` (challenger minus champion, with paired intervals), ``verdict`` (``promote``, ``keep`` or
        ``undecided``) and ``reason``.

    Raises
    ------
    TableError
        If no customers are left to compare, or the database fails.
    """
    newest = min(find_newest_day(store), plan.now // DAY)
    trained = find_training_day(challenger)
    known = -1 if include_known else trained - plan.horizon
    left_out = {"other_version": 0, "not_judged": 0, "known_in_training": 0, "not_scored": 0}
    pairs = []
    for since, until in list_months(store, plan.months, plan.now):
        encode = partial(encode_inputs, challenger.schema)
        joined = join_month(store, since, min(until, plan.now), plan.horizon, newest, encode)
        pairs.append(_score(joined, champion, challenger, known, left_out))
    pair = _Pair(*map(np.concatenate, zip(*map(_list_arrays, pairs), strict=True))) if pairs else None
    if pair is None or not len(pair.labels):
        raise TableError(_explain_none(champion, challenger.version, trained, left_out))
    return _judge(pair, champion, challenger.version, left_out, many_months=len(pairs) > 1)


def find_training_day(scorer: Scorer) -> int:
    """Return the day since 1970-01-01 on which a version was trained."""
    created = datetime.fromisoformat(scorer.manifest.content["created"])
    return times.from_datetime(created) // DAY


def _list_arrays(pair: _Pair) -> tuple[NDArray[Any], ...]:
    return (pair.labels, pair.champion, pair.challenger, pair.champion_selects, pair.challenger_selects, pair.customers)


def _score(joined: Joined, champion: str, challenger: Scorer, known: int, left_out: dict[str, int]) -> _Pair:
    """Score the customers of a month that can be compared; records up to the day `known` may have been learnt."""
    names = joined.version_names
    own = joined.versions == (names.index(champion) if champion in names else -1)
    usable, rows = find_usable(joined.raw), np.flatnonzero(own)
    left_out["other_version"] += int((~own).sum())
    for reason, fine in (
        ("not_judged", joined.is_judged),
        ("known_in_training", joined.days > known),
        ("not_scored", usable),
    ):
        left_out[reason] += int((~fine[rows]).sum())
        rows = rows[fine[rows]]
    probabilities = challenger.score_raw(joined.raw[rows]) if len(rows) else np.zeros(0)
    return _Pair(
        joined.labels[rows],
        joined.probabilities[rows],
        probabilities,
        joined.selected[rows],
        challenger.decide(probabilities),
        joined.customers[rows],
    )


def _judge(pair: _Pair, champion: str, challenger: str, left_out: dict[str, int], *, many_months: bool) -> Comparison:
    who = number_persons(pair.customers) if many_months else None
    first, second = (
        Sample.of(pair.labels, probabilities, selected, who)
        for probabilities, selected in (
            (pair.champion, pair.champion_selects),
            (pair.challenger, pair.challenger_selects),
        )
    )
    differences = {}
    for name, estimate in _COMPARED.items():
        both = [_unsort(estimate(sample), order) for sample, order in (second, first)]
        if both[0] is not None and both[1] is not None:
            differences[name] = both[0].minus(both[1]).interval(who)
    leavers = int(pair.labels.sum())
    verdict, reason = decide(differences, min(leavers, len(pair.labels) - leavers))
    return {
        "champion": champion,
        "challenger": challenger,
        "customers": len(pair.labels),
        "left_out": left_out,
        "measures": {champion: measure(first[0]), challenger: measure(second[0])},
        "differences": {name: describe(interval) for name, interval in differences.items()},
        "verdict": verdict,
        "reason": reason,
    }


def _unsort(estimate: Estimate | None, order: NDArray[np.intp]) -> Estimate | None:
    """Return an estimate with the influences in the order in which the customers were given."""
    if estimate is None:
        return None
    influence = np.empty_like(estimate.influence)
    influence[order] = estimate.influence
    return Estimate(estimate.value, influence)


def decide(differences: dict[str, Interval], rarer: int) -> tuple[str, str]:
    """Return a verdict, and why.

    The log loss decides, because it covers ranking and calibration; the ranking must not become worse.

    Parameters
    ----------
    differences : mapping of str to Interval
        Challenger minus champion.
    rarer : int
        Number of leavers or stayers, whichever are fewer.
    """
    if rarer < FEW_LEAVERS or "roc_auc" not in differences:
        return "undecided", f"there are only {rarer} leavers or stayers; {FEW_LEAVERS} of each are needed"
    loss, auc = differences["log_loss"], differences["roc_auc"]
    told = f"log loss {loss.value:+.4f} ({loss.low:+.4f} to {loss.high:+.4f})"
    ranks = f"AUC {auc.value:+.4f} ({auc.low:+.4f} to {auc.high:+.4f})"
    if loss.high < 0:
        if auc.high < 0:
            return "undecided", f"the challenger has the lower {told}, but ranks worse: {ranks}"
        return "promote", f"the challenger has the lower {told}, and does not rank worse: {ranks}"
    if loss.low > 0:
        return "keep", f"the challenger has the higher {told}"
    return "undecided", f"the difference may be chance: {told}"


def _explain_none(champion: str, challenger: str, trained: int, left_out: dict[str, int]) -> str:
    told = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in left_out.items() if count) or "none"
    message = f"no customers are left to compare versions {champion} and {challenger}; records: {told}"
    if left_out["known_in_training"]:
        message += (
            f". Version {challenger} was trained on {write_date(trained)}, when those outcomes were known; if it was "
            "trained on other customers, use --include-known"
        )
    return message
