"""The evaluation in the manifest, from which profits follow for any costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from churn.bundle import read_bundle
from training.report.data import Costs
from training.report.profit import profit_at

if TYPE_CHECKING:
    from training.job import Outcome

pytestmark = pytest.mark.slow


def test_it_has_what_the_report_has(outcome: Outcome) -> None:
    content = read_bundle(outcome.folder).manifest.content
    entry = content["evaluation"]
    assert entry["part"] == "test"
    assert entry["customers"] == content["metrics"]["test"]["customers"]
    for name in ("log_loss", "roc_auc", "accuracy"):
        found = entry["scores"][name]
        assert found["value"] == pytest.approx(content["metrics"]["test"][name])
        assert found["low"] <= found["value"] <= found["high"]


def test_the_counts_give_the_profit_of_each_threshold(outcome: Outcome) -> None:
    entry = read_bundle(outcome.folder).manifest.content["evaluation"]
    part = outcome.trained.parts["test"]
    costs = Costs(customer_value=90, offer_cost=7, contact_cost=2, accept_rate=0.5)
    left = costs.accept_rate * (costs.customer_value - costs.offer_cost) - costs.contact_cost
    stayed = -costs.offer_cost - costs.contact_cost
    thresholds = [row["threshold"] for row in entry["thresholds"]]
    assert thresholds == sorted(thresholds)
    assert {0.0, 0.5, 1.0} <= {*thresholds}
    for row in entry["thresholds"]:
        profit = (row["leavers"] * left + (row["contacted"] - row["leavers"]) * stayed) / entry["customers"]
        expected = profit_at(part.labels, part.probabilities, row["threshold"], costs)
        assert profit == pytest.approx(expected), row
