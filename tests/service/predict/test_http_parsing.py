"""The fast way to read a request says exactly what the slow and obvious one says."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from bundles import BANK, CUSTOMER, ODD, ODD_CUSTOMER
from hypothesis import given, settings
from hypothesis import strategies as st

from churn.feature import Feature
from churn.schema import Schema
from service.errors import RequestProblem
from service.predict.fast_parse import FastParser
from service.predict.parse import BatchRequest, SingleRequest, parse

LIMIT = 5
SINGLE = Schema((Feature("x", "number"),), "label")
TEXTS = Schema(
    (
        Feature("city", "category", categories=("Bern", "1", "ü"), open=True),
        Feature("branch", "category", categories=("001", "17"), open=True, nullable=True),
        Feature("plan", "category", categories=("silver", "gold"), nullable=True),
        Feature("since", "date", format="%d-%m-%y", trained_minimum=11_000, trained_maximum=15_000),
        Feature("until", "date", nullable=True),
    ),
    "label",
)
SCHEMAS = {"bank": BANK, "odd": ODD, "single": SINGLE, "texts": TEXTS}
PARSERS = {name: FastParser(schema, LIMIT) for name, schema in SCHEMAS.items()}
TYPICAL = {"bank": CUSTOMER, "odd": ODD_CUSTOMER, "single": {"x": 1}}
TYPICAL["texts"] = {"city": "Basel", "branch": "17", "plan": "gold", "since": "07-11-09", "until": None}

# What a sender may put where one value belongs, as JSON text: mostly right, often nearly right, sometimes mad.
MAD = st.sampled_from(
    [
        "null", "true", "false", "NaN", "Infinity", "-Infinity", "0", "1", "-0", "-0.0", "1.0", "0.5", "42", "42.0",
        "4.2e1", "-1", "1e15", "1.0000001e15", "1e16", "1e999", "-1e999", "1e-999", "9" * 25, "9" * 350, "9" * 5000,
        "18446744073709551616", "9223372036854775808", "9007199254740993", "0.1", "1E5", "350", "851", "300", "301",
        '"NA"', '"None"', '" NA "', '"07-11-09"', '"2012-11-07"', '"31-02-12"', '"2012-11-07T10:00:00Z"', '"20121107"',
        '"yes"', '"No"', '"TRUE"', '"fAlSe"', '"1"', '"0"', '"0.0"', '""', '"France"', '"france"', '"Male"', '"ü"',
        r'"\u00fc"', r'"d\"e"', '"b c"', r'"\ud800"', r'"\ud83d\ude00"', '"a\nb"', "[]", "{}", "[1]", "01", "+1", ".5",
        "1.", "", "nan", "'x'", "[[[[", "\ufeff1",
    ]
)  # fmt: skip
NUMBER = st.one_of(st.integers(-5, 1000), st.floats(allow_nan=False, allow_infinity=False), st.floats(-10, 300)).map(
    json.dumps
)


@st.composite
def values(draw: st.DrawFn, feature: Feature) -> str:
    if draw(st.integers(0, 19)) == 0:
        return draw(MAD)
    if feature.kind == "category":
        others = ("Basel", "bern", "") if feature.open else ()
        return json.dumps(draw(st.sampled_from((*feature.categories, *others))))
    if feature.kind == "date":
        return draw(st.sampled_from(['"07-11-09"', '"2012-11-07"', '"1-1-70"', '"13-13-13"', "15000", "null"]))
    if feature.kind == "flag":
        return draw(st.sampled_from(["0", "1", "true", "false", '"yes"', '"NO"', "1.0"]))
    if feature.nullable and draw(st.booleans()):
        return "null"
    return str(draw(st.integers(30, 300))) if feature.kind == "integer" else draw(NUMBER)


@st.composite
def customers(draw: st.DrawFn, schema: Schema) -> str:
    pairs = [(feature.name, draw(values(feature))) for feature in schema.features]
    for change in draw(st.lists(st.sampled_from(["drop", "repeat", "unknown", "identifier", "shuffle"]), max_size=2)):
        if change == "drop" and pairs:
            pairs.pop(draw(st.integers(0, len(pairs) - 1)))
        elif change == "repeat":
            pairs.append((schema.features[0].name, draw(values(schema.features[0]))))
        elif change == "unknown":
            pairs.append((draw(st.text(max_size=5)), draw(MAD)))
        elif change == "identifier":
            pairs.append((schema.identifier, draw(st.one_of(MAD, st.text().map(json.dumps), NUMBER))))
        else:
            pairs = draw(st.permutations(pairs))
    ascii_only = draw(st.booleans())
    return "{" + ", ".join(f"{json.dumps(key, ensure_ascii=ascii_only)}: {text}" for key, text in pairs) + "}"


@st.composite
def bodies(draw: st.DrawFn, schema: Schema) -> bytes:
    one = customers(schema)
    form = draw(st.sampled_from(["one", "one", "many", "many", "late", "odd"]))
    if form == "one":
        text = draw(one)
    elif form == "odd":
        text = draw(st.one_of(MAD, st.text(max_size=10), st.just('{"customers": 1}'), st.just('{"customers"')))
    else:
        text = "[" + ", ".join(draw(st.lists(one, max_size=LIMIT + 2))) + "]"
        text = '{"customers": ' + text + ("" if form == "many" else ', "x": 1') + "}"
        if form == "late":
            text = " " * 100 + text
    return text.encode("utf-8", "surrogatepass")


def outcome(read: Any, *arguments: Any) -> tuple[Any, ...]:
    """Reduce a result or a problem to something that can be compared."""
    try:
        request = read(*arguments)
    except RequestProblem as problem:
        return ("problem", problem.encode())
    if isinstance(request, SingleRequest):
        return ("lone", [repr(float(value)) for value in request.row], request.identifier)
    return ("batch", request.raw.shape, request.raw.tolist().__repr__(), request.identifiers)


def normal(result: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple("0.0" if part == "-0.0" else part for part in result)


@pytest.mark.parametrize("name", SCHEMAS)
@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_fast_and_slow_agree(name: str, data: st.DataObject) -> None:
    body = data.draw(bodies(SCHEMAS[name]))
    assert outcome(PARSERS[name].parse, body) == outcome(parse, SCHEMAS[name], body, LIMIT)


@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=60))
def test_fast_and_slow_agree_on_rubbish(body: bytes) -> None:
    assert outcome(PARSERS["bank"].parse, body) == outcome(parse, BANK, body, LIMIT)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_valid_request_takes_the_fast_way(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the slow way was taken")

    monkeypatch.setattr("service.predict.fast_parse.parse", refuse)
    parser, one = PARSERS[name], TYPICAL[name]
    named = one | {SCHEMAS[name].identifier: "me"}
    assert isinstance(parser.parse(json.dumps(one).encode()), SingleRequest)
    assert parser.parse(json.dumps(named).encode()).identifier == "me"  # type: ignore[union-attr]
    batch = parser.parse(json.dumps({"customers": [one, named]}).encode())
    assert isinstance(batch, BatchRequest)
    assert batch.identifiers == [None, "me"]
    with pytest.raises(AssertionError, match="slow way"):
        parser.parse(b"{}")


def test_only_values_inside_training_are_said_to_be_usual() -> None:
    parser = PARSERS["bank"]
    for change, unusual in (({}, False), ({"Age": 18}, False), ({"Age": 17}, True), ({"Balance": 3e5}, True)):
        body = json.dumps(CUSTOMER | change)
        assert parser.parse(body.encode()).may_be_unusual is unusual
        assert parser.parse(f'{{"customers": [{body}]}}'.encode()).may_be_unusual is unusual


def test_a_row_has_the_kinds_in_schema_order() -> None:
    request = PARSERS["odd"].parse(json.dumps(ODD_CUSTOMER).encode())
    assert isinstance(request, SingleRequest)
    row = np.array(request.row, dtype=float)
    assert math.isnan(row[2])
    assert row[[0, 1, 3, 4]].tolist() == [3.0, 12.5, 1.0, -3.0]
