"""A share of the customers is scored by another version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from bundles import BANK, CUSTOMER, ODD, publish
from canaries import SHARE, count_by_version, make_models, start_with_canary
from running import read_metrics, start
from waiting import wait_until

from churn.schema import Schema
from churn.share import is_chosen

if TYPE_CHECKING:
    from pathlib import Path


NAMES = range(200)
CHOSEN = [is_chosen(name, SHARE) for name in NAMES]


def named(name: int | str | None) -> dict[str, Any]:
    return CUSTOMER | ({} if name is None else {"CustomerId": name})


def test_the_choice_depends_on_the_identifier_alone_and_grows_with_the_share() -> None:
    assert [is_chosen(name, SHARE) for name in NAMES] == [is_chosen(str(name), SHARE) for name in NAMES] == CHOSEN
    assert [name for name in NAMES if is_chosen(name, 0.1)][:6] == [11, 20, 22, 30, 44, 45]  # never to change
    many = [is_chosen(name, 0.1) for name in range(20_000)]
    assert 0.09 < sum(many) / len(many) < 0.11
    assert all(is_chosen(name, 0.5) for name in range(20_000) if many[name])
    assert not any(is_chosen(name, 0.0) for name in NAMES)
    assert all(is_chosen(name, 1.0) for name in NAMES)
    assert not is_chosen(None, 1.0)


def test_the_answer_names_the_version_that_made_it(tmp_path: Path) -> None:
    with start_with_canary(make_models(tmp_path)) as client:
        assert client.get("/model").json()["canary"] == {"version": "2", "share": SHARE}
        for name, chosen in zip(NAMES, CHOSEN, strict=True):
            answer = client.post("/predict", json=named(name)).json()
            assert answer["model_version"] == ("2" if chosen else "1")
            assert answer["CustomerId"] == name
            assert answer["churn"] == (answer["probability"] > (0.0 if chosen else 0.5))
        assert client.post("/predict", json=CUSTOMER).json()["model_version"] == "1"
        assert count_by_version(client) == {"1": len(CHOSEN) - sum(CHOSEN) + 1, "2": sum(CHOSEN)}


def test_a_batch_is_split_and_keeps_its_order(tmp_path: Path) -> None:
    old = CUSTOMER | {"Age": 120}
    with start_with_canary(make_models(tmp_path)) as client:
        customers = [named(name) if name % 3 else {**old, "CustomerId": name} for name in NAMES] + [CUSTOMER]
        answer = client.post("/predict", json={"customers": customers}).json()
        assert answer["model_version"] == "1"
        alone = [client.post("/predict", json=customer).json() for customer in customers]
        for one, single, chosen in zip(answer["predictions"], alone, [*CHOSEN, False], strict=True):
            assert one.get("model_version") == ("2" if chosen else None)
            assert {**single, "model_version": None} == {**one, "model_version": None}
        metrics = read_metrics(client)
        assert metrics['churn_batch_size_bucket{le="+Inf"}'] == 1 + len(customers)
        assert metrics["churn_batch_size_sum"] == 2 * len(customers)


@pytest.mark.parametrize("leniency", ["", "?extra=ignore"])
def test_a_batch_of_customers_that_are_all_chosen_is_the_canarys(tmp_path: Path, leniency: str) -> None:
    with start_with_canary(make_models(tmp_path), 1.0) as client:
        extra = {"Surname": "x"} if leniency else {}
        answer = client.post(f"/predict{leniency}", json={"customers": [named(1) | extra, named(2) | extra]}).json()
        assert answer["model_version"] == "2"
        assert all("model_version" not in one for one in answer["predictions"])
        assert client.post(f"/predict{leniency}", json=named(1) | extra).json()["model_version"] == "2"
        large = client.post("/predict", json={"customers": [named(name) for name in range(3000)]}).json()
        assert large["model_version"] == "2"


def test_nobody_gets_an_error_because_of_the_canary(tmp_path: Path) -> None:
    with start_with_canary(make_models(tmp_path, ODD), 1.0) as client:
        assert client.post("/predict", json=named(1)).json()["model_version"] == "1"
        assert client.post("/predict", json={"customers": [named(1), named(2)]}).json()["model_version"] == "1"
        assert client.post("/predict", json={}).status_code == 422
        assert read_metrics(client)["churn_canary_fallback_customers_total"] == 3


def test_a_canary_with_fewer_columns_or_another_identifier_is_refused_by_its_schema(tmp_path: Path) -> None:
    fewer = Schema(BANK.features[:5], label="Exited")
    with start_with_canary(make_models(tmp_path, fewer), 1.0) as client:
        assert client.post("/predict", json=named(1)).json()["model_version"] == "1"
        assert client.post("/predict?extra=ignore", json=named(1)).json()["model_version"] == "2"


def test_it_begins_and_ends_over_http_and_when_it_is_promoted(tmp_path: Path) -> None:
    with start(make_models(tmp_path), admin=True) as client:
        assert client.put("/admin/canary", json={"version": 2, "share": 1}).status_code == 200
        assert client.post("/predict", json=named(1)).json()["model_version"] == "2"
        assert client.get("/admin/models").json()["canary_share"] == 1
        assert client.delete("/admin/canary").status_code == 200
        assert client.post("/predict", json=named(1)).json()["model_version"] == "1"
        assert client.put("/admin/canary", json={"version": 2, "share": 1.5}).status_code == 422
        for version, reason in ((7, "version 7 does not exist"), (1, "version 1 is the served one")):
            refused = client.put("/admin/canary", json={"version": version, "share": 0.1})
            assert refused.status_code == 409
            assert reason in refused.json()["detail"]
        assert client.put("/admin/canary", json={"version": 2, "share": 0.1}).status_code == 200
        assert client.post("/admin/models/2/promote").status_code == 200
        assert "canary" not in client.get("/model").json()


def test_a_canary_that_can_not_be_loaded_does_not_hold_the_service_up(tmp_path: Path) -> None:
    publish(tmp_path)
    with start(tmp_path, canary_version=5, canary_share=1.0) as client:
        wait_until(lambda: client.get("/model").json().get("last_change", {}).get("outcome") == "failed")
        assert client.post("/predict", json=named(1)).json()["model_version"] == "1"
