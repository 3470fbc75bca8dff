from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn.dates import FORMATS
from churn.errors import SchemaError
from churn.feature import KINDS, LARGEST, MISSING_WORDS, OTHER, Feature, InvalidValueError
from churn.names import find_fault, normalize
from churn.schema import Schema
from training.schema_file import read_schema, write_schema_file

if TYPE_CHECKING:
    from pathlib import Path

NUMBER = Feature("x", "number", minimum=-1.5, maximum=10)
INTEGER = Feature("n", "integer", minimum=0, nullable=True)
FLAG = Feature("f", "flag")
CATEGORY = Feature("c", "category", categories=("b", "a"))
SCHEMA = Schema((NUMBER, INTEGER, FLAG, CATEGORY), label="left", identifier="client")

names = st.text(min_size=1, max_size=8)
words = names.filter(lambda word: word not in {*MISSING_WORDS, OTHER})
bounds = st.none() | st.floats(-1e9, 1e9)


@st.composite
def features(draw: st.DrawFn) -> Feature:
    kind = draw(st.sampled_from(KINDS))
    low, high = draw(bounds), draw(bounds)
    if low is not None and high is not None and low > high:
        low, high = high, low
    return Feature(
        draw(names.filter(lambda name: find_fault(name, "feature") is None)),
        kind,
        minimum=low if kind in ("number", "integer") else None,
        maximum=high if kind in ("number", "integer") else None,
        trained_minimum=draw(bounds),
        trained_maximum=draw(bounds),
        categories=tuple(draw(st.lists(words, min_size=1, unique_by=normalize))) if kind == "category" else (),
        open=draw(st.booleans()) if kind == "category" else False,
        format=draw(st.sampled_from(["", *FORMATS])) if kind == "date" else "",
        nullable=draw(st.booleans()),
        description=draw(st.text(max_size=8)),
        unit=draw(st.text(max_size=8)),
        example=draw(st.none() | st.floats(-1e9, 1e9) | st.text(min_size=1, max_size=8)),
    )


schemas = st.lists(
    features(), min_size=1, max_size=5, unique_by=lambda feature: normalize(feature.name).casefold()
).map(lambda found: Schema(tuple(found), label="a label that is no feature", identifier="an identifier that is none"))


@given(schemas)
def test_a_schema_survives_a_dictionary(schema: Schema) -> None:
    assert Schema.from_dict(schema.to_dict()) == schema


@given(schemas)
def test_a_schema_survives_a_toml_file(tmp_path_factory: pytest.TempPathFactory, schema: Schema) -> None:
    path = tmp_path_factory.getbasetemp() / "schema.toml"
    write_schema_file(path, schema)
    assert read_schema(path) == schema


def test_a_bound_of_zero_stays_in_the_dictionary() -> None:
    assert Schema((INTEGER,), "left").to_dict()["features"]["n"] == {"kind": "integer", "minimum": 0, "nullable": True}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": "", "kind": "flag"}, "can't be named ''"),
        ({"name": "customers", "kind": "flag"}, "can't be named 'customers'"),
        ({"name": "x", "kind": "text"}, "feature x: kind 'text' is unknown; allowed: number, integer, flag, category"),
        (
            {"name": "x", "kind": "number", "categories": ("a",)},
            "feature x: categories and open require kind 'category'",
        ),
        ({"name": "x", "kind": "date", "open": True}, "feature x: categories and open require kind 'category'"),
        (
            {"name": "x", "kind": "category", "categories": ("(other)",), "open": True},
            "'(other)' represents the values",
        ),
        (
            {"name": "x", "kind": "category", "categories": ("a", "None")},
            "feature x: 'None' represents a missing value",
        ),
        ({"name": "x", "kind": "number", "format": "%d/%m/%Y"}, "feature x: format requires kind 'date'"),
        (
            {"name": "x", "kind": "date", "format": "%H:%M"},
            "feature x: format requires kind 'date' and one of %Y-%m-%d",
        ),
        ({"name": "x", "kind": "category", "categories": ("a", "a")}, "feature x: a category is listed twice"),
        ({"name": "x", "kind": "number", "minimum": 2, "maximum": 1}, "feature x: minimum 2 is above maximum 1"),
        ({"name": "x", "kind": "number", "minimum": math.nan}, "feature x: nan is not a bound"),
        ({"name": "x", "kind": "number", "trained_maximum": math.inf}, "feature x: inf is not a bound"),
    ],
)
def test_a_feature_that_contradicts_itself_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(SchemaError) as refusal:
        Feature(**fields)
    assert says in str(refusal.value)


@pytest.mark.parametrize(
    ("features", "label", "identifier", "says"),
    [
        ((), "left", "id", "at least one feature"),
        ((FLAG, FLAG), "left", "id", "used twice among features, label and identifier: f"),
        ((FLAG,), "f", "id", "used twice among features, label and identifier: f"),
        ((FLAG,), "left", "f", "used twice among features, label and identifier: f"),
        ((FLAG,), "id", "id", "used twice among features, label and identifier: id"),
        ((FLAG,), "left", "customers", "the identifier can't be named 'customers'"),
    ],
)
def test_a_schema_that_contradicts_itself_is_refused(
    features: tuple[Feature, ...], label: str, identifier: str, says: str
) -> None:
    with pytest.raises(SchemaError) as refusal:
        Schema(features, label, identifier)
    assert says in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"label": None}, "label and identifier of the schema must be strings"),
        ({"identifier": 3}, "label and identifier of the schema must be strings"),
        ({"features": []}, "no table [features]"),
        ({"featurs": {}}, "the schema: unknown: featurs; known: features, identifier, label"),
        ({"features": {"x": "number"}}, "feature x: expected a table with at least a kind"),
        ({"features": {"x": {}}}, "feature x: kind is missing; allowed: number, integer, flag, category"),
        (
            {"features": {"x": {"kind": "number", "min": 1}}},
            "feature x: unknown: min; known: actionable",
        ),
        ({"features": {"x": {"kind": "number", "minimum": "1"}}}, "feature x: minimum must be a number, not '1'"),
        (
            {"features": {"x": {"kind": "number", "trained_maximum": True}}},
            "trained_maximum must be a number, not True",
        ),
        (
            {"features": {"x": {"kind": "category", "categories": "ab"}}},
            "categories must be a list of strings, not 'ab'",
        ),
        ({"features": {"x": {"kind": "category", "categories": [1]}}}, "categories must be a list of strings, not [1]"),
        ({"features": {"x": {"kind": "flag", "nullable": "yes"}}}, "feature x: nullable must be true or false"),
        ({"features": {"x": {"kind": "flag", "unit": 5}}}, "feature x: unit must be a string, not 5"),
        ({"features": {"x": {"kind": "flag", "description": []}}}, "feature x: description must be a string, not []"),
        (
            {"features": {"x": {"kind": "flag", "example": [1]}}},
            "feature x: example must be a value of the column, not [1]",
        ),
    ],
)
def test_plain_data_that_is_no_schema_is_refused_by_name(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(SchemaError) as refusal:
        Schema.from_dict(SCHEMA.to_dict() | changes)
    assert says in str(refusal.value)


def test_a_file_that_is_no_schema_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "schema.toml"
    for text in ("label =", 'label = "left"', "label = 3"):
        path.write_text(text)
        with pytest.raises(SchemaError, match=r"schema.toml: "):
            read_schema(path)
    path.write_bytes(b'label = "\xff"')
    with pytest.raises(SchemaError, match=r"schema.toml: "):
        read_schema(path)


@pytest.mark.parametrize(
    ("feature", "value", "number"),
    [
        (NUMBER, -1.5, -1.5),
        (NUMBER, 10, 10.0),
        (INTEGER, 7, 7.0),
        (INTEGER, 7.0, 7.0),
        (FLAG, 1, 1.0),
        (FLAG, False, 0.0),
        (FLAG, 1.0, 1.0),
        (FLAG, "Yes", 1.0),
        (FLAG, "FALSE", 0.0),
        (FLAG, "0", 0.0),
        (CATEGORY, "b", 0.0),
        (CATEGORY, "a", 1.0),
    ],
)
def test_an_allowed_value_becomes_its_number(feature: Feature, value: object, number: float) -> None:
    assert feature.encode(value) == number


@pytest.mark.parametrize(
    ("feature", "value", "reason"),
    [
        (NUMBER, None, "is missing"),
        (NUMBER, "1", "is not a number"),
        (NUMBER, True, "is not a number"),
        (NUMBER, [1], "is not a number"),
        (NUMBER, math.nan, "is not a finite number"),
        (NUMBER, -math.inf, "is not a finite number"),
        (NUMBER, 10**400, "is not a finite number"),
        (NUMBER, -1.6, "is too small"),
        (NUMBER, 10.001, "is too large"),
        (Feature("x", "number"), 2 * LARGEST, "is beyond 1e+15"),
        (Feature("x", "number"), -2 * LARGEST, "is beyond 1e+15"),
        (INTEGER, 1.5, "is not a whole number"),
        (FLAG, 2, "is not a flag"),
        (FLAG, "maybe", "is not a flag"),
        (FLAG, [], "is not a flag"),
        (CATEGORY, "A", "is an unknown category"),
        (CATEGORY, 1, "is not a text"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_with_the_reason(feature: Feature, value: object, reason: str) -> None:
    with pytest.raises(InvalidValueError) as refusal:
        feature.encode(value)
    assert str(refusal.value) == reason


def test_a_missing_value_is_allowed_only_where_the_feature_has_gaps() -> None:
    assert math.isnan(INTEGER.encode(None))
    assert math.isnan(INTEGER.parse(""))
    with pytest.raises(InvalidValueError, match="is missing"):
        FLAG.parse("")


@pytest.mark.parametrize(
    ("feature", "text", "number"),
    [(NUMBER, "-1.5", -1.5), (NUMBER, "1e0", 1.0), (INTEGER, "7.0", 7.0), (CATEGORY, "a", 1.0)]
    + [(FLAG, text, 1.0) for text in ("1", "1.0", "YES", "true")],
)
def test_a_cell_becomes_its_number(feature: Feature, text: str, number: float) -> None:
    assert feature.parse(text) == number


@pytest.mark.parametrize(
    ("feature", "text", "reason"),
    [
        (NUMBER, "?", "is not a number"),
        (NUMBER, "1,5", "is not a number"),
        (NUMBER, "1_0", "is not a number"),
        (NUMBER, "٣", "is not a number"),
        (NUMBER, "inf", "is not a finite number"),
        (NUMBER, "-2", "is too small"),
        (INTEGER, "1.5", "is not a whole number"),
        (FLAG, "2", "is not a flag"),
        (FLAG, "?", "is not a flag"),
        (CATEGORY, "?", "is an unknown category"),
    ],
)
def test_a_cell_that_is_not_allowed_is_refused_with_the_reason(feature: Feature, text: str, reason: str) -> None:
    with pytest.raises(InvalidValueError) as refusal:
        feature.parse(text)
    assert str(refusal.value) == reason


@pytest.mark.parametrize(
    ("feature", "words"),
    [
        (NUMBER, "a number from -1.5 to 10"),
        (INTEGER, "a whole number of 0 or more, or null"),
        (Feature("x", "number", maximum=1_234_567), "a number of 1234567 or less"),
        (Feature("x", "integer"), "a whole number"),
        (FLAG, "0, 1, true, false, yes or no"),
        (CATEGORY, "one of b, a"),
    ],
)
def test_what_is_allowed_is_said_in_words(feature: Feature, words: str) -> None:
    assert feature.allowed == words


def test_a_feature_is_found_by_name() -> None:
    assert SCHEMA["f"] is FLAG
    with pytest.raises(KeyError):
        SCHEMA["g"]


def test_the_fingerprint_depends_on_what_an_encoder_depends_on() -> None:
    def print_of(*features: Feature) -> str:
        return Schema(features, "left").fingerprint

    assert print_of(FLAG) == print_of(Feature("f", "flag", description="other words", example=1))
    others = [
        print_of(FLAG),
        print_of(Feature("g", "flag")),
        print_of(Feature("f", "integer")),
        print_of(Feature("f", "flag", nullable=True)),
        print_of(CATEGORY),
        print_of(Feature("c", "category", categories=("a", "b"))),
        print_of(FLAG, NUMBER),
        print_of(NUMBER, FLAG),
    ]
    assert len(set(others)) == len(others)


@pytest.mark.parametrize(
    "feature",
    [
        Feature("n", "number", actionable="decrease", actionable_minimum=0, actionable_maximum=5.5),
        Feature("i", "integer", actionable="any", actionable_minimum=-1),
        Feature("f", "flag", actionable="increase"),
        Feature("c", "category", categories=("b", "a"), actionable="any"),
        Feature("d", "date", actionable="any", actionable_maximum=20_000),
    ],
)
def test_a_mark_survives_manifests_and_schema_files(feature: Feature, tmp_path: Path) -> None:
    marked = Schema((feature, Feature("other", "flag")), "left")
    assert Schema.from_dict(json.loads(json.dumps(marked.to_dict()))) == marked
    write_schema_file(tmp_path / "schema.toml", marked)
    assert read_schema(tmp_path / "schema.toml") == marked
    assert not any(key.startswith("actionable") for key in marked.to_dict()["features"]["other"])
    assert marked.fingerprint == replace_feature(marked, "actionable", "").fingerprint


def replace_feature(schema: Schema, key: str, value: object) -> Schema:
    bounds: dict[str, Any] = {"actionable_minimum": None, "actionable_maximum": None}
    first = replace(schema.features[0], **bounds | {key: value})
    return replace(schema, features=(first, *schema.features[1:]))


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"kind": "number", "actionable": "up"}, "'up' is unknown; allowed: increase, decrease, any, or no mark"),
        ({"kind": "number", "actionable": True}, "feature x: actionable must be a string, not True"),
        ({"kind": "category", "categories": ["a"], "actionable": "increase"}, "a category has no order"),
        ({"kind": "number", "actionable_minimum": 0}, "actionable_minimum requires actionable"),
        ({"kind": "flag", "actionable": "any", "actionable_maximum": 1}, "actionable_maximum requires kind"),
        ({"kind": "number", "actionable": "any", "actionable_minimum": "0"}, "actionable_minimum must be a number"),
        ({"kind": "number", "actionable": "any", "actionable_maximum": math.inf}, "inf is not a bound"),
        (
            {"kind": "number", "actionable": "any", "actionable_minimum": 2, "actionable_maximum": 1},
            "actionable_minimum 2 is above actionable_maximum 1",
        ),
    ],
)
def test_a_mark_that_makes_no_sense_is_refused_by_name(entry: dict[str, Any], says: str) -> None:
    with pytest.raises(SchemaError) as refusal:
        Schema.from_dict({"label": "left", "features": {"x": entry}})
    assert says in str(refusal.value)


@pytest.mark.parametrize(("name", "role"), [("CustomerId", "identifier"), ("left", "label")])
def test_neither_identifier_nor_label_can_be_marked(name: str, role: str) -> None:
    features = {"x": {"kind": "flag"}, name: {"kind": "integer", "actionable": "any"}}
    with pytest.raises(SchemaError, match=f"{name} is the {role}, so it can't be actionable"):
        Schema.from_dict({"label": "left", "features": features})
