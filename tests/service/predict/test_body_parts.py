"""Large bodies are read in parts, with the same result as in one piece."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from bundles import BANK, CUSTOMER
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from churn.leniency import Leniency
from service.errors import RequestProblem
from service.guard.json_limits import JsonLimits
from service.predict import fast_parse, parts
from service.predict.fast_parse import FastParser
from service.predict.parse import BatchRequest, parse

LIMIT = 30
NAMES = st.sampled_from([None, "a", "},{", '"},\n{"', "]}", 7, 8.0, 9.5])
CHANGES: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{}, {}, {}, {"Age": "x"}, {"Geography": "Mars"}, {"more": 1}, {"Age": {"a": [1]}}, {"Age": 200}]
)
SPACES = st.sampled_from(["", " ", "\n  ", "\x0b"])


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    customers: list[Any] = [
        CUSTOMER | {"CustomerId": draw(NAMES)} | draw(CHANGES) for _ in range(draw(st.integers(0, 40)))
    ]
    if draw(st.integers(0, 9)) == 0:
        customers.insert(draw(st.integers(0, len(customers))), draw(st.sampled_from([1, [], None])))
    a, b, c, d = (draw(SPACES) for _ in range(4))
    texts = [json.dumps(customer) for customer in customers]
    if draw(st.integers(0, 9)) == 0:
        texts.append(draw(st.sampled_from(["", "{", "}", '"', "{},", "}]", '{"a":1}],"customers":[{}'])))
    end = draw(st.sampled_from(["]}", "]}", "]}", "]", '],"x":[1]}', "]}\n ", "]}]", '],"customers":[]}']))
    return f'{a}{{{b}"customers"{c}:[{(d + "," + a).join(texts)}{b}{end}'.encode()


def read(work: Any, *arguments: Any) -> Any:
    try:
        found = work(*arguments)
    except RequestProblem as problem:
        return problem.encode()
    assert isinstance(found, BatchRequest)
    return found.raw.tolist(), found.identifiers


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(bodies(), st.sampled_from([Leniency(), Leniency(ignores_extra=True), Leniency(parses_texts=True)]))
def test_parts_give_the_same_as_the_whole(monkeypatch: pytest.MonkeyPatch, body: bytes, leniency: Leniency) -> None:
    for module in (parts, fast_parse):
        monkeypatch.setattr(module, "PART_BYTES", 700)
    parser = FastParser(BANK, LIMIT)
    found = read(parser.parse, body) if leniency == Leniency() else read(parser.parse_leniently, body, leniency)
    whole = read(parse, BANK, body, LIMIT, leniency)
    # Too many customers are noticed before the end, and so before what is no JSON, or another list, behind them. Those
    # of the parts that were not read are counted by their braces, of which a customer may have several.
    is_early = isinstance(found, bytes) and b"too-many-customers" in found and body.count(b'"Age"') > LIMIT
    assert found == whole or is_early


def test_a_list_of_customers_is_divided() -> None:
    body = json.dumps({"customers": [CUSTOMER | {"CustomerId": n} for n in range(10_000)]}).encode()
    found = parts.divide(body)
    assert found is not None
    assert len(found) > len(body) // parts.PART_BYTES - 1
    assert max(map(len, found)) < 2 * parts.PART_BYTES
    assert [one["CustomerId"] for part in found for one in json.loads(part)] == list(range(10_000))


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[1]", b'{"customers": 1}', b'{"customers": []', b'{"a":1,"customers":[]}']
)
def test_other_bodies_are_not_divided(body: bytes) -> None:
    assert parts.divide(body) is None


def test_what_can_not_be_divided_is_limited_before_it_is_decoded() -> None:
    parser = FastParser(BANK, LIMIT, JsonLimits(300_000))
    for body in (
        json.dumps(CUSTOMER | {"Geography": "x" * 400_000}),
        json.dumps({"customers": [CUSTOMER | {"Geography": "x" * 600_000}]}),
        json.dumps({"more": 1, "customers": [CUSTOMER] * 3000}),
    ):
        with pytest.raises(RequestProblem, match="CHURN_MAX_JSON_BYTES"):
            parser.parse(body.encode())


def test_customers_of_any_size_in_all_are_read_in_parts() -> None:
    parser = FastParser(BANK, 10_000, JsonLimits(300_000))
    body = json.dumps({"customers": [CUSTOMER] * 9000}).encode()
    request = parser.parse(body)
    assert isinstance(request, BatchRequest)
    assert request.raw.shape == (9000, 10)
    assert np.ptp(request.raw, axis=0).max() == 0


def test_the_number_of_customers_in_all_parts_is_named() -> None:
    body = json.dumps({"customers": [CUSTOMER] * 12_345}).encode()
    for wrong in (body, body.replace(b'"France"', b'"Mars"', 1)):
        with pytest.raises(RequestProblem, match=r"12345 customers were sent; allowed: 99"):
            FastParser(BANK, 99).parse(wrong)
