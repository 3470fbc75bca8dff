from __future__ import annotations

from math import exp, log
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from explained import DENSE, MadeScorer, as_scorer, write_network

from churn.errors import EngineError
from churn.feature import Feature
from churn.reasons.columns import list_columns, make_columns
from churn.reasons.explainer import Explainer
from churn.reasons.sentences import write_support_sentence
from churn.reasons.session import Session
from churn.reasons.strongest import ReasonWriter
from churn.reasons.support import SupportFinder
from churn.schema import Schema
from churn.support import Axis, Members, Space, SupportData

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

DRAW = np.random.default_rng(8)
SPACE = Space((Axis(0, center=10.0, scale=2.0), Axis(1), Axis(2, center=5.0, scale=1.0, spike=0.0)))
FACTOR, VARIANCE = 1.5, 0.2


def make_reference(rows: int) -> NDArray[np.float64]:
    balance = np.where(DRAW.random(rows) < 0.5, 0.0, DRAW.normal(5, 1, rows))
    return np.column_stack([DRAW.normal(10, 2, rows), DRAW.integers(0, 3, rows), balance])


def write_members(folder: Path, outputs: int) -> bytes:
    """Return a network whose outputs differ."""
    weights = {"w0": DRAW.normal(size=(3, 6)), "b0": DRAW.normal(size=6)}
    write_network(folder, DENSE, weights | {"w1": DRAW.normal(size=(6, outputs)), "b1": np.zeros(outputs)}, 3, outputs)
    return (folder / "model.onnx").read_bytes()


def make_data(members: bytes = b"", neighbours: int = 3, rows: int = 50) -> SupportData:
    reference = SPACE.place(make_reference(rows))
    distances = sorted(SPACE.find_distance(reference, one, neighbours)[0] for one in SPACE.place(make_reference(99)))
    bag = Members(members, FACTOR, VARIANCE) if members else None
    return SupportData(SPACE, reference, neighbours, np.array(distances), np.full(3, 0.1), bag)


def test_coordinates_are_standard_scores_codes_and_states() -> None:
    raw = np.array([[12.0, 2, 0], [8.0, np.nan, 6], [np.nan, 0, np.nan]])
    expected = [[1, 0, 2, 0, 1], [-1, 1, -1, 0, 0], [0, 0, 0, 2, 2]]
    assert SPACE.place(raw).tolist() == expected
    assert SPACE.width == 5


def test_distances_are_those_of_the_definition() -> None:
    reference, customer = make_reference(40), np.array([11.0, 1, 5.5])
    expected = []
    for quantity, code, balance in reference:
        square = ((quantity - 11) / 2) ** 2 + (code != 1)
        square += 1 + 0.5**2 if balance == 0 else (balance - 5.5) ** 2
        expected.append(square)
    place, placed = SPACE.place(customer[None])[0], SPACE.place(reference)
    parts = SPACE.measure(placed, place)
    np.testing.assert_allclose(parts.sum(axis=0), expected, rtol=1e-5)
    np.testing.assert_allclose(parts[0], ((reference[:, 0] - 11) / 2) ** 2, rtol=1e-5)
    assert (parts[1] == (reference[:, 1] != 1)).all()
    distance, drops = SPACE.find_distance(placed, place, 4)
    assert distance == pytest.approx(np.sqrt(np.sort(expected)[3]), abs=1e-5)
    without = np.sort(parts[:2].sum(axis=0))[3]
    assert drops[2] == pytest.approx(distance**2 - without, abs=1e-4)


def test_the_share_counts_customers_who_are_as_far_and_the_field_is_the_strange_one() -> None:
    data = make_data()
    finder = SupportFinder(data, 3)
    matrix = np.zeros((1, 3), np.float32)
    for raw in make_reference(20):
        distance, _ = SPACE.find_distance(data.reference, SPACE.place(raw[None])[0], 3)
        farther = sum(other >= distance for other in data.distances.tolist())
        assert finder.find(raw[None], matrix, 0.3).share == round((1 + farther) / 100, 4)
    strange = finder.find(np.array([[10.0, 1, 60.0]]), matrix, 0.3)
    assert (strange.share, strange.position) == (0.01, 2)
    assert finder.find(np.array([[40.0, 1, 5.0]]), matrix, 0.3).position == 0
    assert finder.find(np.array([[10.0, 7, 5.0]]), matrix, 0.3).position == 1
    assert (strange.low, strange.high) == (None, None)


def test_the_range_is_so_many_deviations_of_the_members_on_the_logit_scale(tmp_path: Path) -> None:
    data = make_data(write_members(tmp_path, 4))
    finder, raw = SupportFinder(data, 3), make_reference(1)
    matrix = DRAW.normal(size=(1, 3)).astype(np.float32)
    assert data.members is not None
    logits = [log(p / (1 - p)) for p in Session(data.members.network).run(matrix)[0].tolist()]
    half = FACTOR * np.sqrt((np.var(logits, ddof=1) + VARIANCE) / 2)
    found = finder.find(raw, matrix, 0.25)
    for side, end in ((-1, found.low), (1, found.high)):
        assert end == pytest.approx(1 / (1 + exp(-(log(1 / 3) + side * half))), abs=2e-6)
    # Neither end of the scale is left.
    for certain in (0.0, 1.0):
        sure = finder.find(raw, matrix, certain)
        assert sure.low is not None
        assert sure.high is not None
        assert 0 <= sure.low <= certain <= sure.high <= 1


def test_a_file_that_is_no_bag_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"the members return an array of shape \(1, 1\); allowed: \(1, 2 or more\)"):
        SupportFinder(make_data(write_members(tmp_path, 1)), 3)
    with pytest.raises(EngineError):
        SupportFinder(make_data(b"no network"), 3)
    with pytest.raises(EngineError, match="the members can't be run on 4 inputs"):
        SupportFinder(make_data(write_members(tmp_path, 4)), 4)


@pytest.fixture
def writer(tmp_path: Path) -> ReasonWriter:
    members = write_members(tmp_path / "members", 5)
    write_members(tmp_path, 1)
    made = MadeScorer(tmp_path, make_reference(6), np.arange(3), support=make_data(members))
    schema = Schema((Feature("amount", "number"), Feature("class", "category", categories=("a", "b", "c")),
                     Feature("balance", "number", description="Balance of the account.")), label="left")  # fmt: skip
    return ReasonWriter(Explainer(as_scorer(made)), schema, 2)


def test_customers_alone_have_the_support_they_have_together(writer: ReasonWriter) -> None:
    raw, probabilities = make_reference(30), np.full(30, 0.5)
    together, _ = writer.write(raw, probabilities)
    assert [one for one, _ in writer.write_each(raw, probabilities)] == together
    assert len({one.support for one in together}) > 20


def test_columns_have_the_support(writer: ReasonWriter) -> None:
    raw = np.array([[10.0, 1, 5.0], [10.0, 1, 90.0]])
    reasons, _ = writer.write(raw, np.full(2, 0.5))
    names = [name for name, _ in list_columns(writer)]
    schema = Schema((Feature("amount", "number"), Feature("class", "category", categories=("a", "b", "c")),
                     Feature("balance", "number")), label="left")  # fmt: skip
    columns: dict[str, list[Any]] = {
        name: column.to_pylist() for name, column in zip(names, make_columns(writer, schema, reasons), strict=True)
    }
    assert names[-5:] == ["support_share", "support_field", "support_low", "support_high", "support_sentence"]
    assert columns["support_field"][1] == "balance"
    assert columns["support_share"] == [one.support.share for one in reasons if one.support]
    assert columns["support_low"] == [one.support.low for one in reasons if one.support]
    assert "most of all by Balance of the account." in columns["support_sentence"][1]


@pytest.mark.parametrize(
    ("share", "low", "high", "expected"),
    [
        (0.4, None, None, "Many training customers are like this one."),
        (0.05, None, None, ("Few training customers are like this one: at most 5.0 % of customers are so far from all "
                           "others, most of all by Age.")),
        (0.003, 0.071, 0.2, ("Hardly any training customers are like this one: at most 0.3 % of customers are so far "
                            "from all others, most of all by Age. Trained on other customers, the network would say "
                            "7.1 to 20.0 % in nine of ten cases.")),
        (0.9, 0.2, 0.2, ("Many training customers are like this one. Trained on other customers, the network would say "
                        "about 20.0 % in nine of ten cases.")),
    ],
)  # fmt: skip
def test_sentences(share: float, low: float | None, high: float | None, expected: str) -> None:
    assert write_support_sentence(share, Feature("Age", "number"), low, high) == expected
