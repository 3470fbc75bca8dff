"""The Open Inference Protocol, held against the published client of Triton: `pip install 'tritonclient[http]'`."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bundles import CUSTOMER, ODD, ODD_CUSTOMER, publish
from processes import default_signals
from waiting import DEADLINE, wait_until

# Not among the development requirements: with gevent it is larger than the service.
triton = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed", exc_type=ImportError)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

SUPPORT = ("support_share", "support_field", "support_low", "support_high", "support_sentence")
DATATYPES = {np.dtype(np.int64): "INT64", np.dtype(np.float64): "FP64", np.dtype(bool): "BOOL"}


def start(models: Path) -> Iterator[Any]:
    """Serve in a process of its own and give a client to it."""
    command: list[Any] = [
        Path(sys.executable).with_name("churn"),
        "serve",
        "--port",
        "0",
        "--engine",
        "onnx",
        "--models",
        models,
    ]
    with default_signals():
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)  # noqa: S603  our own command
    with process:
        try:
            lines = iter(process.stderr.readline, "")  # type: ignore[union-attr]
            port = next(found[1] for line in lines if (found := re.search(r"http://127\.0\.0\.1:(\d+)", line)))
            client = triton.InferenceServerClient(f"127.0.0.1:{port}")
            wait_until(lambda: _is_ready(client))
            yield client
            client.close()
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=DEADLINE)


def _is_ready(client: Any) -> bool:
    try:
        return bool(client.is_server_ready())
    except ConnectionRefusedError:
        return False


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    root = tmp_path_factory.mktemp("bank")
    publish(root)
    yield from start(root)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    root = tmp_path_factory.mktemp("odd")
    publish(root, ODD)
    yield from start(root)


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    root = tmp_path_factory.mktemp("explained")
    publish(root, background=5, support=True)
    yield from start(root)


def to_inputs(customers: list[dict[str, Any]], shape: tuple[int, ...], *, binary: bool) -> list[Any]:
    inputs = []
    for name in customers[0]:
        values = np.array([customer[name] for customer in customers])
        if values.dtype.kind == "U":
            values = np.array([text.encode() for text in values.tolist()], dtype=object)
        found = triton.InferInput(name, shape, DATATYPES.get(values.dtype, "BYTES"))
        found.set_data_from_numpy(values.reshape(shape), binary_data=binary)
        inputs.append(found)
    return inputs


def test_the_client_reads_what_is_served(bank: Any) -> None:
    assert bank.is_server_live()
    assert bank.is_server_ready()
    assert bank.is_model_ready("churn")
    assert bank.is_model_ready("churn", "1")
    assert not bank.is_model_ready("churn", "2")
    assert not bank.is_model_ready("other")
    assert "binary_tensor_data" in bank.get_server_metadata()["extensions"]
    metadata = bank.get_model_metadata("churn", "1")
    assert [found["name"] for found in metadata["inputs"]] == list(CUSTOMER)


@pytest.mark.parametrize("version", ["", "1"])
@pytest.mark.parametrize("binary_output", [None, True, False])
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("columns", [(), (1,)])
def test_the_client_gets_the_answers_that_predict_gives(
    bank: Any, columns: tuple[int, ...], binary: bool, binary_output: bool | None, version: str
) -> None:
    customers = [CUSTOMER | {"Age": age, "Geography": place} for age in (18, 92) for place in ("Spain", "France")]
    outputs = [triton.InferRequestedOutput(name, binary_data=binary_output) for name in ("churn", "probability")]
    result = bank.infer(
        "churn",
        to_inputs(customers, (4, *columns), binary=binary),
        version,
        outputs=None if binary_output is None else outputs,
        request_id="42",
    )
    expected = post_predict(bank, customers)
    assert result.get_response()["id"] == "42"
    assert result.get_response()["model_version"] == "1"
    assert result.as_numpy("probability").dtype == np.float64
    assert result.as_numpy("churn").dtype == bool
    assert result.as_numpy("probability").tolist() == [found["probability"] for found in expected]
    assert result.as_numpy("churn").tolist() == [found["churn"] for found in expected]
    assert len({found["probability"] for found in expected}) == 4


def test_the_client_scores_ten_thousand(bank: Any) -> None:
    customers = [CUSTOMER | {"Age": age % 100} for age in range(10_000)]
    found = bank.infer("churn", to_inputs(customers, (10_000,), binary=True)).as_numpy("probability")
    expected = post_predict(bank, customers[:100])
    assert found[:100].tolist() == [one["probability"] for one in expected]
    assert (found.reshape(-1, 100) == found[:100]).all()


@pytest.mark.parametrize("binary", [True, False])
def test_the_client_sends_gaps_as_nan(odd: Any, binary: bool) -> None:
    customer = {name: value for name, value in ODD_CUSTOMER.items() if value is not None} | {"_income": float("nan")}
    assert len(customer) < len(ODD_CUSTOMER)
    found = odd.infer("churn", to_inputs([customer], (1,), binary=binary)).as_numpy("probability")
    assert found.tolist() == [one["probability"] for one in post_predict(odd, [ODD_CUSTOMER | {"_income": None}])]


@pytest.mark.parametrize(
    ("customer", "status", "words"),
    [
        (CUSTOMER | {"Age": -1}, "422", "customer 0: Age is too small"),
        ({"Age": 1}, "400", "inputs are missing: CreditScore"),
    ],
)
def test_the_client_gets_the_reason_of_a_refusal(bank: Any, customer: Any, status: str, words: str) -> None:
    with pytest.raises(triton.InferenceServerException, match=words) as caught:
        bank.infer("churn", to_inputs([customer], (1,), binary=True))
    assert caught.value.status() == status


def test_the_client_asks_for_a_version_there_is_not(bank: Any) -> None:
    with pytest.raises(triton.InferenceServerException, match="version '7' is not served"):
        bank.infer("churn", to_inputs([CUSTOMER], (1,), binary=True), "7")


def test_the_asynchronous_client_gets_the_same(bank: Any) -> None:
    customers = [CUSTOMER | {"Age": age} for age in range(20, 60)]
    pending = [bank.async_infer("churn", to_inputs([customer], (1,), binary=True)) for customer in customers]
    found = [request.get_result().as_numpy("probability")[0] for request in pending]
    assert found == [one["probability"] for one in post_predict(bank, customers)]


@pytest.mark.parametrize("binary_output", [True, False])
@pytest.mark.parametrize("binary", [True, False])
def test_the_client_gets_the_reasons_that_predict_gives(explained: Any, binary: bool, binary_output: bool) -> None:
    customers = [CUSTOMER | {"Age": age, "Geography": place} for age in (18, 92) for place in ("Spain", "France")]
    names = {"reasons": "field", "reason_points": "points", "reason_sentences": "sentence"}
    wanted = [triton.InferRequestedOutput(name, binary_data=binary_output) for name in (*names, "base", *SUPPORT)]
    inputs = to_inputs(customers, (4,), binary=binary)
    result = explained.infer("churn", inputs, outputs=wanted, parameters={"reasons": 3})
    found = {name: _as_lists(result.as_numpy(name)) for name in (*names, "base", *SUPPORT)}
    for row, one in enumerate(post_predict(explained, customers, "?reasons=3")):
        assert found["base"][row] == one["base"]
        for name, key in names.items():
            assert found[name][row] == [reason[key] for reason in one["reasons"]]
        for name in SUPPORT:
            assert found[name][row] == one["support"][name.removeprefix("support_")]


def _as_lists(values: Any) -> list[Any]:
    """Return an output as lists; texts arrive as bytes if they are binary."""
    if values.dtype != object:
        found: list[Any] = values.tolist()
        return found
    read = np.vectorize(lambda text: text.decode() if isinstance(text, bytes) else text, otypes=[object])
    texts: list[Any] = read(values).tolist()
    return texts


def post_predict(client: Any, customers: list[dict[str, Any]], query: str = "") -> list[dict[str, Any]]:
    body = json.dumps({"customers": customers}).encode()
    answer = client._post(f"predict{query}", body, {"Content-Type": "application/json"}, None)
    assert answer.status_code == 200
    predictions: list[dict[str, Any]] = json.loads(answer.read())["predictions"]
    return predictions
