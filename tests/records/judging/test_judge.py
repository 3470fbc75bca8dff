"""Records joined with outcomes and judged: every rule of the join, and numbers of known samples."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bundles import BANK, CUSTOMER, publish
from record_samples import make_decision, write
from sklearn.metrics import log_loss, roc_auc_score

from churn.bundle import read_bundle
from churn.errors import TableError
from churn.registry import Registry
from records import times
from records.judging import judgements
from records.judging.groups import GroupReader
from records.judging.join import DAY, join_month, list_months
from records.judging.judge import Plan, judge, read_manifests
from records.judging.judgements import read_judgement, save_judgement
from records.judging.outcome_file import read_outcomes
from records.judging.outcomes import find_outcomes, load_outcomes
from records.removal import erase, prune

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from records.store import RecordStore

HORIZON = 30


def at(day: str, hour: int = 12) -> int:
    """Return the time of an hour of a day."""
    return times.from_datetime(datetime.fromisoformat(day).replace(hour=hour, tzinfo=UTC))


def today(day: str) -> int:
    return at(day) // DAY


def know(store: RecordStore, tmp_path: Path, *rows: tuple[object, str, int]) -> None:
    """Load outcomes: customer, date, whether it left."""
    path = tmp_path / "outcomes.csv"
    path.write_text("customer,date,left\n" + "".join(f"{who},{day},{left}\n" for who, day, left in rows))
    table = read_outcomes(path)
    table.require_faultless()
    load_outcomes(store, table)


def join(store: RecordStore, since: str, until: str, now: str) -> dict[float, Any]:
    """Return the labels of a time by probability, which names a record here."""
    found = join_month(store, at(since, 0), at(until, 0), HORIZON, today(now))
    assert len(set(found.probabilities)) == len(found.probabilities)
    return {
        float(p): (None if np.isnan(label) else int(label)) if over else "open"
        for p, label, over in zip(found.probabilities, found.labels, found.is_over, strict=True)
    }


@pytest.mark.parametrize(
    ("outcomes", "label"),
    [
        ([], None),
        ([("2026-03-01", 1)], None),  # before the record
        ([("2026-03-10", 1)], 1),  # on its day
        ([("2026-03-20", 1)], 1),
        ([("2026-04-09", 1)], 1),  # the last day of the horizon
        ([("2026-04-10", 1)], 0),  # later, so it stayed till then
        ([("2026-04-09", 0)], 0),
        ([("2026-04-08", 0)], None),  # known as a customer, but not till the end
        ([("2026-05-20", 0)], 0),
        ([("2026-03-20", 0), ("2026-03-25", 1), ("2026-06-01", 0)], 1),  # left, and came back
        ([("2026-03-05", 1), ("2026-04-20", 0)], 0),  # left and came back before the record
    ],
)
def test_what_became_of_a_record(
    store: RecordStore, tmp_path: Path, outcomes: Sequence[tuple[str, int]], label: int | None
) -> None:
    write(store, [make_decision(time=at("2026-03-10"), customer_id="7", probability=0.25)])
    know(store, tmp_path, *[("7", *one) for one in outcomes], ("8", "2026-03-20", 1))
    assert join(store, "2026-03-01", "2026-04-01", "2026-06-01") == {0.25: label}


def test_a_record_whose_horizon_is_not_over_is_not_judged(store: RecordStore, tmp_path: Path) -> None:
    write(store, [make_decision(time=at(day), customer_id=day, probability=p)
                  for day, p in (("2026-03-10", 0.1), ("2026-03-11", 0.2))])  # fmt: skip
    know(store, tmp_path, ("2026-03-10", "2026-03-20", 1), ("2026-03-11", "2026-03-20", 1))
    assert join(store, "2026-03-01", "2026-04-01", "2026-04-09") == {0.1: 1, 0.2: "open"}


def test_the_first_record_of_a_customer_in_a_month_is_judged(store: RecordStore, tmp_path: Path) -> None:
    days = ("2026-03-12", "2026-03-10", "2026-04-01", "2026-04-05", "2026-02-28")
    chain = write(store, [make_decision(time=at(day), customer_id="7", probability=(place + 1) / 10)
                          for place, day in enumerate(days)])  # fmt: skip
    write(store, [make_decision(9, time=at("2026-03-11"), customer_id=None, probability=0.9)], chain)
    know(store, tmp_path, ("7", "2026-05-01", 1))
    assert join(store, "2026-03-01", "2026-04-01", "2026-09-01") == {0.2: 0}
    assert join(store, "2026-04-01", "2026-05-01", "2026-09-01") == {0.3: 1}


def test_a_month_without_records_is_empty(store: RecordStore) -> None:
    assert join(store, "2026-03-01", "2026-04-01", "2026-09-01") == {}
    assert list_months(store, 5, at("2026-09-01")) == []


def test_the_newest_months_with_records_are_listed(store: RecordStore) -> None:
    write(store, [make_decision(time=at(day)) for day in ("2025-11-30", "2026-01-31", "2026-03-01", "2026-03-20")])
    found = [times.show(since)[:7] for since, _ in list_months(store, 2, at("2026-09-01"))]
    assert found == ["2026-01", "2026-03"]
    assert [times.show(since)[:7] for since, _ in list_months(store, 9, at("2026-03-01"))] == ["2025-11", "2026-01"]


def test_groups_are_read_from_the_input_as_it_was_sent() -> None:
    reader = GroupReader(BANK)
    assert [feature.name for feature in reader.features] == ["Geography", "Gender", "HasCrCard", "IsActiveMember"]
    sent = [CUSTOMER, CUSTOMER | {"Geography": "Spain", "HasCrCard": "no"}, {"Geography": "Mars", "HasCrCard": [1]}]
    table = {" Geography": "France ", "HasCrCard": "1"}
    raw = reader.read([*map(json.dumps, (*sent, table)), None], [None, None, None, "texts=parse", None])
    assert raw[3, [0, 2]].tolist() == [0, 1]
    raw = raw[[0, 1, 2, 4]]
    assert raw[:, 0].tolist()[:2] == [0, 2]
    assert raw[:2, 2].tolist() == [1, 0]
    assert np.isnan(raw[2:]).all()
    names = [(feature.name, level, members.tolist()) for feature, level, members in reader.split(raw)]
    assert ("Geography", "Spain", [False, True, False, False]) in names
    assert ("HasCrCard", "missing", [False, False, True, True]) in names


def judge_at(store: RecordStore, now: str, root: Path | None = None, months: int = 12) -> dict[str, Any]:
    manifests = {} if root is None else {path.name: read_bundle(path).manifest for path in root.glob("[0-9]")}
    found = judge(store, Plan(HORIZON, months, at(now)), manifests)
    json.dumps(found, allow_nan=False)
    return found


def test_months_versions_and_groups_are_judged(store: RecordStore, tmp_path: Path) -> None:
    write(store, [
        make_decision(time=at(f"2026-0{month}-{1 + number % 28:02}"), customer_id=str(number),
                      probability=round(0.1 + 0.8 * (number % 97) / 97, 6), churn=number % 97 > 48,
                      model_version=str(1 + (number % 5 == 0)),
                      input=json.dumps(CUSTOMER | {"Geography": ("France", "Spain")[number % 3 == 0]}))
        for month in (1, 2) for number in range(300)
    ])  # fmt: skip
    left = {number: number % 97 > 20 + 7 * (number % 11) for number in range(300)}
    know(store, tmp_path, *[(number, f"2026-0{month}-28", int(left[number]))
                            for month in (1, 2, 3) for number in range(300) if number % 10])  # fmt: skip
    found = judge_at(store, "2026-03-28", publish(tmp_path / "models").parent)
    assert [month["month"] for month in found["months"]] == ["2026-01", "2026-02"]
    january = found["months"][0]
    assert (january["customers"], january["open"]) == (300, 0)
    assert january["judged"] + january["unknown"] == 300
    assert 200 < january["judged"] < 300
    assert found["horizon_days"] == HORIZON
    assert found["training"] == {}  # the manifest has no more than a log loss
    known = join_month(store, at("2026-01-01", 0), at("2026-02-01", 0), HORIZON, today("2026-03-28"))
    judged = known.is_judged
    assert january["judged"] == judged.sum()
    y, p = known.labels[judged], known.probabilities[judged]
    measures = january["measures"]
    assert measures["customers"] == len(y)
    assert measures["leavers"] == y.sum()
    assert measures["roc_auc"]["value"] == pytest.approx(roc_auc_score(y, p))
    assert measures["log_loss"]["value"] == pytest.approx(log_loss(y, p))
    assert measures["selected"] == known.selected[judged].sum()
    for name in ("roc_auc", "log_loss", "precision", "recall", "lift", "calibration_error", "share_left"):
        assert measures[name]["low"] <= measures[name]["value"] <= measures[name]["high"], name
    assert january["expected"]["share_left"]["value"] == pytest.approx(p.mean())
    assert january["expected_of_all"]["share_left"]["value"] == pytest.approx(known.probabilities.mean())
    assert january["expected_of_all"]["customers"] == 300
    second = known.versions[judged] == known.version_names.index("2")
    version = january["versions"]["2"]["measures"]
    assert version["customers"] == second.sum()
    assert version["roc_auc"]["value"] == pytest.approx(roc_auc_score(y[second], p[second]))
    groups = {(one["feature"], one["level"]): one["measures"] for one in january["groups"]}
    spain = known.customers[judged]
    assert groups["Geography", "France"]["customers"] + groups["Geography", "Spain"]["customers"] == len(spain)
    assert sum(one["customers"] for (feature, _), one in groups.items() if feature == "Gender") == len(spain)
    total = found["total"]["measures"]
    assert total["customers"] == sum(month["judged"] for month in found["months"])
    assert sum(one["measures"]["customers"] for one in found["versions"].values()) == total["customers"]


def test_a_month_too_young_to_judge_says_what_is_expected(store: RecordStore) -> None:
    write(store, [make_decision(number, time=at("2026-03-10")) for number in range(50)])
    (month,) = judge_at(store, "2026-03-20")["months"]
    assert (month["judged"], month["open"], month["unknown"]) == (0, 50, 0)
    assert month["measures"] == {"customers": 0, "leavers": 0, "selected": 0}
    assert 0.5 < month["expected_of_all"]["roc_auc"]["value"] < 1


def test_a_record_whose_days_end_after_the_newest_outcome_is_not_judged(store: RecordStore, tmp_path: Path) -> None:
    write(store, [make_decision(number, time=at("2026-03-10"), customer_id=str(number)) for number in range(3)])
    know(store, tmp_path, ("0", "2026-03-20", 1), ("1", "2026-04-08", 0))
    (month,) = (found := judge_at(store, "2026-06-20"))["months"]
    assert (found["known_until"], month["judged"], month["open"]) == ("2026-04-08", 0, 3)
    know(store, tmp_path, ("2", "2026-04-09", 0))
    (month,) = (found := judge_at(store, "2026-06-20"))["months"]
    assert (found["known_until"], month["judged"], month["unknown"]) == ("2026-04-09", 2, 1)


def test_leavers_alone_are_no_judgement_of_the_ranking(store: RecordStore, tmp_path: Path) -> None:
    write(store, [make_decision(number, time=at("2026-03-10")) for number in range(50)])
    know(store, tmp_path, *[(15_000_000 + number, "2026-03-12", 1) for number in range(10)], (1, "2026-06-19", 0))
    (month,) = judge_at(store, "2026-06-20")["months"]
    assert (month["judged"], month["unknown"]) == (10, 40)
    assert month["measures"]["roc_auc"] == {"value": None, "low": None, "high": None}
    assert month["measures"]["share_left"]["value"] == 1


def test_erased_and_removed_customers_take_no_part(store: RecordStore, tmp_path: Path) -> None:
    write(store, [make_decision(time=at(day), customer_id=who, probability=p) for day, who, p in (
        ("2026-02-10", "1", 0.1), ("2026-03-10", "1", 0.2), ("2026-03-11", "2", 0.3))])  # fmt: skip
    know(store, tmp_path, ("1", "2026-02-20", 1), ("2", "2026-06-01", 0))
    prune(store, at("2026-03-01", 0))
    assert join(store, "2026-02-01", "2026-03-01", "2026-09-01") == {}
    erase(store, "2")
    assert join(store, "2026-03-01", "2026-04-01", "2026-09-01") == {0.2: None}
    assert find_outcomes(store, "2") == []
    assert len(find_outcomes(store, "1")) == 1


def test_nothing_at_all_is_judged_without_records(store: RecordStore) -> None:
    found = judge_at(store, "2026-03-20")
    assert (found["months"], found["versions"], found["total"]["measures"]) == ([], {}, {})


def test_the_last_judgement_is_found_and_old_ones_go(store: RecordStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judgements, "KEPT", 3)
    assert read_judgement(store) is None
    for number in range(5):
        save_judgement(store, {"form": 1, "time": number})
    assert read_judgement(store) == (5, {"form": 1, "time": 4})
    assert read_judgement(store, 5) is None
    with store.reading() as connection:
        assert len(connection.execute(judgements.JUDGEMENTS.select()).all()) == 3


def test_a_judgement_of_another_program_is_an_error(store: RecordStore) -> None:
    save_judgement(store, {"form": 2})
    with pytest.raises(TableError, match="form 2, which this program does not know"):
        read_judgement(store)


def test_manifests_are_read_of_the_versions_that_can_be(tmp_path: Path) -> None:
    publish(tmp_path)
    (publish(tmp_path) / "model.onnx").write_bytes(b"changed")
    found, wrong = read_manifests(Registry(tmp_path))
    assert list(found) == ["1"]
    assert "model.onnx" in wrong["2"]
    assert read_manifests(Registry(tmp_path / "none")) == ({}, {})
