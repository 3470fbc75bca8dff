"""Judge recorded decisions by their outcomes: by month, model version and subgroup."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from churn.dates import write_date
from churn.errors import ChurnError
from churn.measures.expected import ASSUMPTION
from churn.measures.sample import Sample
from churn.measures.training import read_trained
from records import times
from records.judging.groups import GroupReader
from records.judging.join import DAY, RULE, Joined, find_newest_day, join_month, list_months
from records.judging.judgements import FORM, Judgement
from records.judging.measures import Measures, describe, expect_measures, measure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from churn.bundle import Manifest
    from churn.registry import Registry
    from records.store import RecordStore


@dataclass(frozen=True, slots=True)
class Plan:
    """What is judged.

    Attributes
    ----------
    horizon : int
        Days in which a customer must leave for the prediction to be right.
    months : int
        Maximum number of calendar months (UTC), the newest ones with records.
    now : int
        Time of the judgement; later records are ignored.
    """

    horizon: int
    months: int
    now: int


def judge(store: RecordStore, plan: Plan, manifests: Mapping[str, Manifest]) -> Judgement:
    """Judge the decisions of the newest months.

    Parameters
    ----------
    store : RecordStore
    plan : Plan
    manifests : mapping of str to Manifest
        By version, of those that are there: their training metrics, and the schema of the newest one for subgroups.

    Returns
    -------
    dict
        ``form``, ``time``, ``horizon_days``, ``known_until`` (date of the newest outcome, or None), ``rule``,
        ``assumption``, ``training`` by version, ``months`` (the oldest first), ``versions`` and ``total`` over all
        months. A month has counts (``customers``, ``judged``, ``open``: the horizon ends after ``known_until``,
        ``unknown``), ``measures`` of the judged customers, ``expected`` of the same customers, ``expected_of_all``,
        ``versions`` with the same of each version, and ``groups``.

    Raises
    ------
    TableError
        If the database fails.
    """
    reader = GroupReader(manifests[newest].schema) if (newest := _find_newest(manifests)) else None
    months, joined = [], []
    known = min(find_newest_day(store), plan.now // DAY)
    for since, until in list_months(store, plan.months, plan.now):
        end = min(until, plan.now)
        found = join_month(store, since, end, plan.horizon, known, reader.read if reader else None)
        months.append({"month": times.show(since)[:7], **_judge_month(found, reader)})
        joined.append(found)
    return {
        "form": FORM,
        "time": times.show(plan.now),
        "horizon_days": plan.horizon,
        "known_until": write_date(known) if known >= 0 else None,
        "rule": RULE.format(days=plan.horizon),
        "assumption": ASSUMPTION,
        "training": describe_training(manifests),
        "months": months,
        **_judge_all(joined, months),
    }


def read_manifests(
    registry: Registry, versions: Iterable[int] | None = None
) -> tuple[dict[str, Manifest], dict[str, str]]:
    """Return the manifests of versions in a folder, by default of all, by version, and why others can't be read.

    A version that can't be read can't be served either; its records are judged without what its manifest says.
    """
    from churn.bundle import read_bundle

    found, wrong = {}, {}
    for version in registry.versions() if versions is None else versions:
        try:
            found[str(version)] = read_bundle(registry.folder(version)).manifest
        except ChurnError as error:
            wrong[str(version)] = str(error)
    return found, wrong


def describe_training(manifests: Mapping[str, Manifest]) -> dict[str, Any]:
    """Return the metrics of customers held out in training by version, with intervals."""
    found = {version: read_trained(manifest.content) for version, manifest in manifests.items()}
    return {
        version: {
            "part": one.part,
            "customers": one.customers,
            "roc_auc": describe(one.roc_auc),
            "log_loss": describe(one.log_loss),
        }
        for version, one in found.items()
        if one is not None
    }


def _find_newest(manifests: Mapping[str, Manifest]) -> str | None:
    return max(manifests, key=int, default=None)


def _judge_month(joined: Joined, reader: GroupReader | None) -> dict[str, Any]:
    judged, over = joined.is_judged, joined.is_over
    sample, rows = _sample(joined, judged)
    everybody = sample if judged.all() else _sample(joined, np.ones(len(judged), dtype=bool))[0]
    found = _judge_sample(sample)
    return {
        "customers": len(judged),
        "judged": int(judged.sum()),
        "open": int((~over).sum()),
        "unknown": int((over & ~judged).sum()),
        **found,
        "expected_of_all": found["expected"] if everybody is sample else expect_measures(everybody),
        "versions": _judge_versions(joined.version_names, joined.versions[rows], sample, found),
        "groups": [] if reader is None else _judge_groups(reader, joined.raw[rows], sample),
    }


def _sample(joined: Joined, mask: NDArray[np.bool_]) -> tuple[Sample, NDArray[np.intp]]:
    """Return customers of a mask as a sample, and their rows."""
    rows = np.flatnonzero(mask)
    sample, order = Sample.of(joined.labels[rows], joined.probabilities[rows], joined.selected[rows])
    return sample, rows[order]


def _judge_sample(sample: Sample) -> dict[str, Measures]:
    return {"measures": measure(sample), "expected": expect_measures(sample)}


def _judge_versions(
    names: Sequence[str], versions: NDArray[np.int64], sample: Sample, together: dict[str, Measures]
) -> dict[str, Any]:
    places = {name: place for place, name in enumerate(names) if (versions == place).any()}
    if len(places) == 1:
        return dict.fromkeys(places, together)
    return {name: _judge_sample(sample.subset(versions == places[name])) for name in sorted(places, key=_as_number)}


def _as_number(version: str) -> tuple[int, str]:
    return (int(version) if version.isdecimal() else -1, version)


def _judge_groups(reader: GroupReader, raw: NDArray[np.float64], sample: Sample) -> list[dict[str, Any]]:
    return [
        {"feature": feature.name, "level": level, "measures": measure(sample.subset(members), is_brief=True)}
        for feature, level, members in reader.split(raw)
    ]


def _judge_all(joined: Sequence[Joined], months: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Judge all months together; a customer of several months is one person in the intervals."""
    if not joined:
        return {"versions": {}, "total": {"measures": {}, "expected": {}}}
    if len(joined) == 1:
        return {"versions": months[0]["versions"], "total": {key: months[0][key] for key in ("measures", "expected")}}
    names = tuple(dict.fromkeys(name for one in joined for name in one.version_names))
    codes = [np.array([names.index(name) for name in one.version_names], np.int64)[one.versions] for one in joined]
    masks = [one.is_judged for one in joined]
    labels, probabilities, selected, customers, versions = (
        np.concatenate([array[mask] for array, mask in zip(arrays, masks, strict=True)])
        for arrays in (
            [one.labels for one in joined],
            [one.probabilities for one in joined],
            [one.selected for one in joined],
            [one.customers for one in joined],
            codes,
        )
    )
    sample, order = Sample.of(labels, probabilities, selected, customers)
    total = _judge_sample(sample)
    return {"versions": _judge_versions(names, versions[order], sample, total), "total": total}
