"""Build a training table from recorded customers with outcomes."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from churn.errors import TableError
from records import times
from records.judging.inputs import encode_inputs, find_usable
from records.judging.join import DAY, find_newest_day, join_month, list_months
from training.dataset import Dataset, check_classes, with_trained_ranges
from training.leaks import refuse_leaks

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from churn.schema import Schema
    from records.judging.judge import Plan
    from records.store import RecordStore


WHERE = Path("records")
"""Name of the table in messages."""


class _Customers(NamedTuple):
    """Customers of a month, each array with a row for each."""

    customers: NDArray[np.int64]
    raw: NDArray[np.float64]
    labels: NDArray[np.float64]


def load_recorded(store: RecordStore, plan: Plan, schema: Schema, *, keep: Collection[str] = ()) -> Dataset:
    """Return the recorded customers whose outcome is known, each once, with the newest record that can be judged.

    The join is that of `records.judging.join`: the first record of a month, and an outcome within the horizon. Several
    records of a customer would put the same person into training and test set.

    Parameters
    ----------
    store : RecordStore
    plan : Plan
    schema : Schema
        Its features are read from the recorded inputs.
    keep : collection of str
        Columns that may predict the label on their own.

    Returns
    -------
    Dataset
        In the order of the records, the newest month first.

    Raises
    ------
    TableError
        If there are too few leavers or stayers, a column predicts the label on its own, or the database fails.
    """
    known = min(find_newest_day(store), plan.now // DAY)
    read = partial(encode_inputs, schema)
    found, counts = [], {"records": 0, "judged": 0, "unreadable": 0}
    months = list_months(store, plan.months, plan.now)[::-1]
    for since, until in months:
        joined = join_month(store, since, min(until, plan.now), plan.horizon, known, read)
        judged, usable = joined.is_judged, find_usable(joined.raw)
        counts["records"] += len(judged)
        counts["judged"] += int(judged.sum())
        counts["unreadable"] += int((judged & ~usable).sum())
        rows = judged & usable
        found.append(_Customers(joined.customers[rows], joined.raw[rows], joined.labels[rows]))
    name = store.database.name
    if not months:
        raise TableError(f"{name}: there are no records to train on")
    table = _Customers(*map(np.concatenate, zip(*found, strict=True)))
    first = np.sort(np.unique(table.customers, return_index=True)[1])
    raw, labels = table.raw[first], table.labels[first]
    check_classes(WHERE, labels)
    refuse_leaks(WHERE, schema, raw, labels, keep)
    source = {
        "file": name,
        "sha256": hashlib.sha256(raw.tobytes() + labels.tobytes()).hexdigest(),
        "rows": counts["records"],
        "rows_used": len(labels),
        "rows_left_out": counts["records"] - counts["judged"],
        "rows_with_faults": counts["unreadable"],
        "rows_repeated": len(table.labels) - len(labels),
        "positive_share": float(labels.mean()),
        "columns_dropped": {},
        "classes": {"left": "1", "stayed": "0"},
        "has_identifier": True,
    }
    return Dataset(with_trained_ranges(schema, raw), raw, labels, source, _describe(plan, months, counts, source))


def _describe(
    plan: Plan, months: list[tuple[int, int]], counts: dict[str, int], source: dict[str, object]
) -> tuple[str, ...]:
    first, last = (times.show(month[0])[:7] for month in (months[-1], months[0]))
    notes = [
        (
            f"Built from records of {first} to {last}, each customer once, with outcomes within {plan.horizon} days; "
            f"{source['rows_left_out']:,} records without a known outcome are left out."
        ),
        "Whoever was contacted because of a score may have stayed because of that.",
    ]
    if counts["unreadable"]:
        notes.append(f"{counts['unreadable']:,} records are left out whose input the schema does not allow.")
    return tuple(notes)
