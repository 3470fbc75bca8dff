"""Which names a column may have in a model, and the one Unicode form of all of them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn.errors import SchemaError
from churn.feature import Feature
from churn.names import ANSWER_NAMES, find_alike, find_fault, normalize, normalize_keys, normalize_names
from churn.schema import Schema

NFC, NFD = "caf\u00e9", "cafe\u0301"

NEVER = {
    "": "is empty",
    "   ": "is empty",
    " Age": "begins or ends with white space",
    "Age\u00a0": "begins or ends with white space",
    "line\nbreak": "U+000A",
    "carriage\rreturn": "U+000D",
    "tab\tin it": "U+0009",
    "zero\0byte": "U+0000",
    "bell\x07": "U+0007",
    "delete\x7f": "U+007F",
    "next\x85line": "U+0085",
    "line\u2028separator": "U+2028",
    "paragraph\u2029separator": "U+2029",
    "\ufeffAge": "U+FEFF",
    "half a pair \ud800": "U+D800",
    "x" * 256: "has 256 bytes; allowed: ",
    "é" * 128: "has 256 bytes; allowed: ",
    "__part": "begin with __ are reserved",
}

FINE = [
    "a", "Größe in cm", "a,b", "a;b", "a.b", "a`b", "it's", "100 %", "a:b", ":a", "[a]", "{a}", "$a", "a/b", "#", "-",
    "Δ", "客户", "😀",
]  # fmt: skip

OWN = [*sorted(ANSWER_NAMES), "Probability", "CHURN", "Row", 'say "hi"', "back\\slash", "x" * 64]


@pytest.mark.parametrize("role", ["feature", "identifier", "label"])
@pytest.mark.parametrize(("name", "reason"), NEVER.items())
def test_names_that_no_column_may_have(name: str, reason: str, role: str) -> None:
    assert reason in str(find_fault(name, role))  # type: ignore[arg-type]


@pytest.mark.parametrize("role", ["feature", "identifier", "label"])
@pytest.mark.parametrize("name", FINE)
def test_names_that_every_column_may_have(name: str, role: str) -> None:
    assert find_fault(name, role) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", [*sorted(ANSWER_NAMES), "Probability", "CHURN", "Row", 'say "hi"', "back\\slash", "x" * 64]
)
def test_names_that_the_identifier_alone_may_not_have(name: str) -> None:
    assert find_fault(name, "identifier")
    assert find_fault(name, "label") is None
    assert find_fault(name, "feature") is None or name == "customers"


def test_a_schema_holds_to_it_and_says_what_to_do() -> None:
    age = Feature("Age", "number")
    with pytest.raises(SchemaError, match=r"the identifier can't be named 'probability'.*; rename the column"):
        Schema((age,), "left", "probability")
    with pytest.raises(SchemaError, match=r"the label can't be named 'a\\nb'"):
        Schema((age,), "a\nb", "id")
    with pytest.raises(SchemaError, match=r"a feature can't be named 'a\\x00b'"):
        Feature("a\0b", "number")


@pytest.mark.parametrize(
    ("names", "alike"),
    [
        (["Age", "age", "x"], ["Age", "age"]),
        (["STRASSE", "straße"], ["STRASSE", "straße"]),
        ([NFC, NFD], [NFC, NFD]),
        (["Age", "Ages"], []),
    ],
)
def test_names_that_databases_take_for_the_same(names: list[str], alike: list[str]) -> None:
    assert find_alike(names) == alike


def test_a_schema_refuses_names_that_differ_in_case_alone() -> None:
    with pytest.raises(SchemaError, match="differ only in case: Age, age"):
        Schema((Feature("Age", "number"), Feature("age", "number")), "left", "id")
    with pytest.raises(SchemaError, match="differ only in case: ID, id"):
        Schema((Feature("ID", "number"),), "left", "id")


@given(st.text())
def test_a_name_has_one_form_however_it_was_typed(name: str) -> None:
    forms = {normalize(unicodedata.normalize(form, name)) for form in ("NFC", "NFD")}
    assert forms == {unicodedata.normalize("NFC", name)}


def test_headers_and_keys_are_brought_to_that_form() -> None:
    assert normalize_names([f" {NFD} ", "Age"]) == [NFC, "Age"]
    assert normalize_keys({NFC: 1, NFD: 2, "Age": 3}) == {NFC: 2, "Age": 3}
    plain = {"Age": 1}
    assert normalize_keys(plain) is plain


def test_a_schema_holds_names_and_categories_in_that_form() -> None:
    schema = Schema((Feature(NFD, "category", categories=(NFD, "tea")),), label=f"{NFD} left", identifier=f"{NFD} no")
    assert schema.names == (NFC,)
    assert schema[NFC].categories == (NFC, "tea")
    assert (schema.label, schema.identifier) == (f"{NFC} left", f"{NFC} no")
    assert [schema[NFC].encode(word) for word in (NFC, NFD, "tea")] == [0, 0, 1]
    with pytest.raises(SchemaError, match="a category is listed twice"):
        Feature("drink", "category", categories=(NFC, NFD))
