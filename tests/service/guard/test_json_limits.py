from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from problems import assert_problem
from running import read_metrics, start

from service.errors import RequestProblem
from service.guard.json_limits import HARMLESS_BYTES, JsonLimits, check_json, count_values, measure_depth

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = st.text(st.sampled_from('ab,[]{}"\\\n\u00e9')) | st.text()
VALUES: Any = st.recursive(
    st.none() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
)

INFER = "/v2/models/churn/infer"
KIND = "json-too-complex"


def find_depth(value: Any) -> int:
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(find_depth, inner), default=0)


def find_values(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(find_values, inner))


@given(VALUES, st.booleans())
def test_the_depth_is_that_of_the_value(value: Any, is_ascii: bool) -> None:
    assert measure_depth(json.dumps(value, ensure_ascii=is_ascii).encode()) == find_depth(value)


@given(VALUES, st.booleans())
def test_no_value_is_left_uncounted(value: Any, is_ascii: bool) -> None:
    assert count_values(json.dumps(value, ensure_ascii=is_ascii).encode()) >= find_values(value)


def test_numbers_are_counted_once() -> None:
    assert count_values(json.dumps({"a": list(range(100))}).encode()) == 102


@given(st.binary(max_size=100))
def test_bytes_that_are_no_json_have_a_depth(data: bytes) -> None:
    assert 0 <= measure_depth(data) <= len(data)


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        (b" " * 1001, "max_json_bytes"),
        (b'{"a":[[[1]]]}', "max_json_depth"),
        (b'{"a":[' + b"1," * 40_000 + b"1]}", "max_json_values"),
        (b'{"a":"' + b"\\n" * 40_000 + b'"}', "max_json_values"),
    ],
)
def test_json_above_a_limit_is_refused(body: bytes, limit: str) -> None:
    limits = JsonLimits(1000 if limit == "max_json_bytes" else 10**6, values=30_000, depth=3)
    with pytest.raises(RequestProblem, match=f"CHURN_{limit.upper()}") as found:
        check_json(body, limits)
    assert (found.value.kind, found.value.limit) == (KIND, limit)


def test_json_up_to_the_limits_is_let_pass() -> None:
    limits = JsonLimits(10**6, values=30_000, depth=3)
    check_json(b'{"a":[[1, "[[[", "\\"[[["]]}', limits)
    check_json(b"[" + b"1," * 29_990 + b"1" * HARMLESS_BYTES + b"]", limits)


@pytest.mark.parametrize("path", ["/predict", INFER])
@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000, b'{"inputs":' + b"[" * 3000 + b"]" * 3000 + b"}"])
def test_deep_json_is_refused_and_counted(bank_models: Path, path: str, body: bytes) -> None:
    with start(bank_models) as client:
        response = client.post(path, content=body, headers={"content-type": "application/json"})
        assert response.status_code == 413
        assert "CHURN_MAX_JSON_DEPTH" in response.text
        if path == "/predict":
            assert_problem(response, 413, KIND)
        assert read_metrics(client)['churn_limited_requests_total{limit="max_json_depth"}'] == 1


def test_the_limits_are_settings(bank_models: Path) -> None:
    tensor = {"name": "Age", "datatype": "FP64", "shape": [1], "data": [1] * 50_000}
    body = json.dumps({"inputs": [tensor]})
    with start(bank_models, max_json_values=40_000) as client:
        assert "40000 (CHURN_MAX_JSON_VALUES)" in client.post(INFER, content=body).json()["error"]
    with start(bank_models, max_json_bytes=10_000) as client:
        assert "10000 (CHURN_MAX_JSON_BYTES)" in client.post(INFER, content=body).json()["error"]
    with start(bank_models, max_json_depth=2) as client:
        assert "2 (CHURN_MAX_JSON_DEPTH)" in client.post(INFER, content=body).json()["error"]
