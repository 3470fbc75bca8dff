from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from explained import write_network

from churn.feature import Feature
from churn.reasons.explainer import Explainer
from churn.reasons.session import Session
from churn.reasons.support import SupportFinder, clipped_logit
from churn.schema import Schema
from churn.support import Axis
from churn.trust.support import MEMBERS_FILE, NEIGHBOURS_FILE, read_support
from training.export import load_onnx
from training.support import choose_axis, find_factor, find_variance, write_support

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from churn.scorer import Scorer
    from churn.support import SupportData
    from training.job import Outcome

SCHEMA = Schema(
    (
        Feature("amount", "number", nullable=True),
        Feature("unheard", "number"),
        Feature("country", "category", categories=("A", "B", "C")),
        Feature("balance", "number"),
    ),
    label="left",
)
HEARD = np.array([0, 2, 3])


def draw(rows: int, seed: int) -> NDArray[np.float64]:
    generator = np.random.default_rng(seed)
    amount = np.where(generator.random(rows) < 0.1, np.nan, generator.normal(size=rows))
    balance = np.where(generator.random(rows) < 0.4, 0.0, generator.lognormal(10, 1, rows))
    return np.column_stack([amount, np.arange(rows), generator.integers(0, 3, rows), balance])


def make(folder: Path, raw: NDArray[np.float64]) -> SupportData:
    entry = write_support(folder, SCHEMA, raw, HEARD, (), lambda raw: raw.astype(np.float32), seed=0)
    found = read_support(folder, {"support": entry}, SCHEMA, {NEIGHBOURS_FILE})
    assert found is not None
    return found


def test_the_stated_share_covers_new_customers(tmp_path: Path) -> None:
    finder = SupportFinder(make(tmp_path, draw(4000, 1)), 1)
    matrix = np.zeros((1, 1), np.float32)
    shares = np.array([finder.find(one[None], matrix, 0.5).share for one in draw(2000, 2)])
    for claimed in (0.01, 0.05, 0.2, 0.5):
        # 2,000 customers and 1,000 who were compared: three standard errors of a share.
        assert abs((shares <= claimed).mean() - claimed) < 3 * np.sqrt(claimed * (1 - claimed) * (1 / 1000 + 1 / 2000))


def test_nothing_is_kept_of_what_the_network_does_not_hear(tmp_path: Path) -> None:
    data = make(tmp_path, draw(200, 1))
    assert [axis.source for axis in data.space.axes] == HEARD.tolist()
    assert data.reference.shape == (100, 5)
    assert len(data.distances) == 100
    assert data.neighbours == 5
    scores = data.reference[:, :2]
    np.testing.assert_array_equal(scores, scores.round(1))
    assert len(np.unique(scores)) > 20
    assert (np.abs(data.reference) < 10).all()  # the row numbers in the column that is not heard go up to 199


@pytest.mark.parametrize("rows", [2, 3, 30])
def test_a_small_table_has_support(tmp_path: Path, rows: int) -> None:
    data = make(tmp_path, draw(rows, 3))
    assert (len(data.reference), data.neighbours) == (rows // 2, 1)


def test_a_network_that_hears_nothing_has_no_support(tmp_path: Path) -> None:
    assert (
        write_support(tmp_path, SCHEMA, draw(50, 0), np.array([], int), (), lambda raw: raw.astype(np.float32), 0)
        is None
    )
    assert not list(tmp_path.iterdir())


def test_axes() -> None:
    number = Feature("x", "number", nullable=True)
    axis = choose_axis(number, 4, np.arange(100.0))
    assert axis.center == pytest.approx(49.5, abs=0.1)
    assert axis.scale == pytest.approx(28.8, abs=0.1)
    assert axis.spike is None
    assert choose_axis(number, 4, np.append(np.arange(30.0), [7.0] * 5 + [np.nan] * 9)).spike == 7
    assert choose_axis(number, 4, np.array([1.0, 3.0, np.nan] * 50 + [2.0])).spike is None
    assert choose_axis(number, 4, np.full(9, 7.0)) == Axis(4, 7.0, 1.0)
    assert choose_axis(number, 4, np.full(9, np.nan)) == Axis(4, 0.0, 1.0)
    assert choose_axis(Feature("f", "flag"), 2, np.array([0.0, 1.0])) == Axis(2)


def test_the_factor_is_that_of_the_jackknife() -> None:
    # The means of two sets of 25 numbers differ by at most the range in nine of ten cases; in some more, as the usual
    # variance is the true one.
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(2, 20_000, 25))
    members = (first.sum(axis=1)[:, None] - first.reshape(-1, 5, 5).sum(axis=2)) / 20
    variances = members.var(axis=1, ddof=1)
    deviation = np.sqrt((variances + variances.mean()) / 2)
    inside = np.abs(first.mean(axis=1) - second.mean(axis=1)) <= find_factor(5) * deviation
    assert 0.9 < inside.mean() < 0.96


def test_members_that_agree_at_most_customers_do_not_hide_how_they_differ_at_others(tmp_path: Path) -> None:
    constants = {"w": np.array([[1.0, 1.0], [0.0, 1.0]]), "b": np.zeros(2)}
    nodes: list[tuple[Any, ...]] = [("Gemm", ["x", "w", "b"], "z"), ("Sigmoid", ["z"], "y")]
    write_network(tmp_path, nodes, constants, 2, outputs=2)
    matrix = np.zeros((10, 2), np.float32)
    matrix[0, 1] = 3.0  # the logits are 0 and 3
    found = find_variance((tmp_path / "model.onnx").read_bytes(), matrix)
    assert found == pytest.approx(0.1 * 4.5, rel=1e-5)


def test_training_publishes_the_members_of_its_folds(outcome: Outcome, scorers: dict[str, Scorer]) -> None:
    scorer = scorers["onnx"]
    fitted = outcome.trained.fitted
    assert len(fitted.result.members) >= 2
    assert scorer.support is not None
    bag = scorer.support.members
    assert bag is not None
    assert bag.factor == find_factor(len(fitted.result.members))
    assert (outcome.folder / MEMBERS_FILE).read_bytes() == bag.network
    raw = outcome.trained.parts["train"].raw[:20]
    matrix = scorer.prepare(raw)
    found = Session(bag.network).run(matrix)
    for column, member in enumerate(fitted.result.members):
        np.testing.assert_allclose(found[:, column], load_onnx(member).predict(matrix), atol=1e-6)
    assert (found.std(axis=1) > 1e-5).all()
    assert 0.1 < bag.variance / clipped_logit(found.astype(float)).var(axis=1, ddof=1).mean() < 10


def test_either_engine_states_the_same_support(scorers: dict[str, Scorer], outcome: Outcome) -> None:
    raw = outcome.trained.parts["test"].raw[:30]
    found = [explainer.find_support(raw, explainer.explain(raw)) for explainer in map(Explainer, scorers.values())]
    assert found[0] == found[1]
    assert None not in found[0]
