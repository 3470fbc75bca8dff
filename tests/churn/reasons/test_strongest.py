from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from explained import make_dense

from churn.feature import Feature
from churn.reasons.columns import list_columns, list_fields, make_columns
from churn.reasons.explainer import Explainer
from churn.reasons.rounding import round_points
from churn.reasons.strongest import ReasonWriter, Wanted, read_wanted
from churn.schema import Schema

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from churn.reasons.strongest import Reasons

DRAW = np.random.default_rng(5)
UNHEARD = 2


def make_writer(folder: Path, wanted: Wanted, features: int = 5) -> tuple[ReasonWriter, Schema, Explainer]:
    schema = Schema(tuple(Feature(f"x{number}", "number") for number in range(features)), label="left")
    scorer = make_dense(folder, features, 1, DRAW.normal(size=(6, features)), unheard=[UNHEARD])
    explainer = Explainer(scorer)
    return ReasonWriter(explainer, schema, wanted), schema, explainer


def explain(writer: ReasonWriter, explainer: Explainer, raw: NDArray[np.float64]) -> list[Reasons]:
    return writer.write(raw, np.round(explainer.explain(raw).probabilities, 6))[0]


def test_the_strongest_reasons_come_first_with_the_rounded_points(tmp_path: Path) -> None:
    writer, schema, explainer = make_writer(tmp_path, 3)
    raw = DRAW.normal(size=(4, 5))
    found = explainer.explain(raw)
    probabilities = np.round(found.probabilities, 6)
    points, base = round_points(found.points, probabilities, explainer.base)
    reasons, evaluations = writer.write(raw, probabilities)
    assert writer.base == base
    assert evaluations == found.evaluations
    assert writer.count == 3
    for row, (own, *_) in enumerate(reasons):
        expected = np.argsort(-np.abs(points[row]), kind="stable")[:3]
        assert [reason.position for reason in own] == expected.tolist()
        assert [reason.points for reason in own] == points[row, expected].tolist()
        assert all(reason.sentence.startswith(schema.names[reason.position]) for reason in own)
        assert all(reason.standard_error is None for reason in own)


def test_all_lists_every_field_and_the_points_add_up_to_the_probability(tmp_path: Path) -> None:
    writer, _, explainer = make_writer(tmp_path, "all")
    raw = DRAW.normal(size=(20, 5))
    probabilities = np.round(explainer.explain(raw).probabilities, 6)
    for (own, *_), probability in zip(writer.write(raw, probabilities)[0], probabilities, strict=True):
        assert sorted(reason.position for reason in own) == [0, 1, 2, 3, 4]
        assert round(writer.base + sum(reason.points for reason in own), 6) == probability
        assert own[-1].position == UNHEARD
        assert own[-1].points == 0
        assert own[-1].sentence.endswith("does not change the probability")


def test_fields_without_an_effect_are_no_reasons_unless_all_are_wanted(tmp_path: Path) -> None:
    writer, _, explainer = make_writer(tmp_path, 100)
    assert writer.count == 5
    ((own, *_),) = explain(writer, explainer, DRAW.normal(size=(1, 5)))
    assert len(own) == 4
    assert UNHEARD not in [reason.position for reason in own]


def test_customers_one_by_one_have_the_same_reasons(tmp_path: Path) -> None:
    writer, _, explainer = make_writer(tmp_path, 4)
    raw = DRAW.normal(size=(5, 5))
    probabilities = np.round(explainer.explain(raw).probabilities, 6)
    reasons, evaluations = writer.write(raw, probabilities)
    singly = list(writer.write_each(raw, probabilities))
    assert [own for own, _ in singly] == reasons
    assert sum(count for _, count in singly) == evaluations


def test_estimates_have_standard_errors(tmp_path: Path) -> None:
    writer, schema, explainer = make_writer(tmp_path, "all", features=14)
    raw = DRAW.normal(size=(1, 14))
    (reasons,) = explain(writer, explainer, raw)
    own = reasons.listed
    errors = explainer.explain(raw).errors
    assert errors is not None
    assert {reason.position: reason.standard_error for reason in own} == dict(enumerate(np.round(errors[0], 6)))
    assert "by about " in own[0].sentence
    names = [name for name, _ in list_columns(writer)]
    assert names[:5] == ["base", "reason_1", "reason_1_points", "reason_1_sentence", "reason_1_standard_error"]
    columns = make_columns(writer, schema, [reasons])
    assert columns[4].to_pylist() == [own[0].standard_error]
    assert len(columns) == len(names) == 1 + 4 * 14


def test_columns_are_null_where_a_customer_has_fewer_reasons(tmp_path: Path) -> None:
    writer, schema, explainer = make_writer(tmp_path, 5)
    reasons = explain(writer, explainer, DRAW.normal(size=(2, 5)))
    fields = list_fields(writer, [name for name, _ in list_columns(writer)])
    columns = dict(zip([field.name for field in fields], make_columns(writer, schema, reasons), strict=True))
    assert columns["base"].to_pylist() == [writer.base] * 2
    assert columns["reason_1"].to_pylist() == [f"x{own.listed[0].position}" for own in reasons]
    assert columns["reason_4_points"].to_pylist() == [own.listed[3].points for own in reasons]
    for name in ("reason_5", "reason_5_points", "reason_5_sentence"):
        assert columns[name].to_pylist() == [None, None]
    assert [column.type for column in columns.values()] == [field.type for field in fields]


@pytest.mark.parametrize("text", ["", "0", "-1", "04", "4.0", " 4", "ALL", "10000", "\uff14"])
def test_what_is_no_number_of_reasons_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="allowed: a whole number from 1 to 9999, or all"):
        read_wanted(text)


def test_numbers_of_reasons_are_read() -> None:
    assert read_wanted("1") == 1
    assert read_wanted("9999") == 9999
    assert read_wanted("all") == "all"
