from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from explained import MadeScorer, as_scorer, make_dense, shapley_by_definition, write_network
from hypothesis import given, settings
from hypothesis import strategies as st

from churn.bundle import Bundle, read_bundle
from churn.columns import encode_columns
from churn.errors import MissingBackgroundError
from churn.reasons import networks
from churn.reasons.explainer import Explainer
from churn.reasons.networks import AdditiveNetwork, ComposedNetwork
from churn.scorer import Scorer

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

TOLERANCE = 1e-6


@pytest.fixture
def raw(scorers: dict[str, Scorer], columns: dict[str, list[Any]]) -> NDArray[np.float64]:
    """The customers of the table that has gaps in a number, a flag and a category."""
    return encode_columns(scorers["onnx"].schema, columns)


def with_background(scorer: Scorer, background: NDArray[np.float64] | None) -> Scorer:
    bundle = Bundle(scorer.folder, scorer.manifest, background)
    return Scorer(bundle, scorer.engine)


def compose_always(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(networks, "find_mixing_layer", lambda *_: None)


def test_values_are_those_of_the_definition_on_a_table_with_gaps_and_categories(
    scorers: dict[str, Scorer], raw: NDArray[np.float64]
) -> None:
    gapped = raw[np.isnan(raw).any(axis=1)]
    assert np.isnan(gapped[:8]).any(axis=0).sum() >= 2
    scorer = with_background(scorers["onnx"], np.concatenate([raw[:3], gapped[:3]]))
    explainer = Explainer(scorer)
    assert explainer.exact
    customers = np.concatenate([raw[10:12], gapped[5:8]])
    found = explainer.explain(customers)
    for row, customer in enumerate(customers):
        expected = shapley_by_definition(scorer.predict, customer, explainer.background)
        np.testing.assert_allclose(found.points[row], expected, atol=TOLERANCE, rtol=0)
    assert found.errors is None


def test_points_add_up_to_probability_minus_base_for_every_customer(
    scorers: dict[str, Scorer], raw: NDArray[np.float64]
) -> None:
    scorer = with_background(scorers["onnx"], raw[::100])
    explainer = Explainer(scorer)
    found = explainer.explain(raw[:40])
    np.testing.assert_allclose(explainer.base + found.points.sum(axis=1), found.probabilities, atol=1e-7, rtol=0)
    np.testing.assert_allclose(found.probabilities, scorer.predict(raw[:40]), atol=TOLERANCE, rtol=0)
    assert explainer.base == pytest.approx(scorer.predict(raw[::100]).astype(np.float64).mean(), abs=TOLERANCE)


def test_a_published_model_has_a_background_and_explains_the_same_with_either_engine(
    scorers: dict[str, Scorer], raw: NDArray[np.float64]
) -> None:
    found = {name: Explainer(scorer).explain(raw[:5]) for name, scorer in scorers.items()}
    assert (found["onnx"].points == found["tensorflow"].points).all()
    for name, scorer in scorers.items():
        np.testing.assert_allclose(found[name].probabilities, scorer.predict(raw[:5]), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("exact_features", [12, 2])
def test_a_customer_alone_has_the_bits_of_a_customer_in_a_batch(
    scorers: dict[str, Scorer], raw: NDArray[np.float64], exact_features: int
) -> None:
    explainer = Explainer(with_background(scorers["onnx"], raw[:20]), exact_features=exact_features)
    together = explainer.explain(raw[20:30])
    for row in range(10):
        alone = explainer.explain(raw[20 + row : 21 + row])
        assert (alone.points == together.points[row]).all()
        assert (alone.probabilities == together.probabilities[row]).all()
        if together.errors is not None:
            assert alone.errors is not None
            assert (alone.errors == together.errors[row]).all()


def test_no_customers_have_no_values(scorers: dict[str, Scorer], raw: NDArray[np.float64]) -> None:
    found = Explainer(with_background(scorers["onnx"], raw[:5])).explain(raw[:0])
    assert (found.points.shape, found.probabilities.shape, found.evaluations) == ((0, raw.shape[1]), (0,), 0)


def test_a_model_without_background_says_retrain_and_scores(own_models: Path, raw: NDArray[np.float64]) -> None:
    bundle = read_bundle(own_models / "1")
    from churn.engines import load_engine

    scorer = Scorer(Bundle(bundle.folder, bundle.manifest), load_engine("onnx", bundle.folder))
    assert len(scorer.score_raw(raw[:3])) == 3
    with pytest.raises(MissingBackgroundError, match=r"model version 1 has no background .* retrain it"):
        Explainer(scorer)


def test_the_values_of_a_constant_network_are_exactly_zero(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    scorer = make_dense(tmp_path, 4, 0, draw.normal(size=(5, 4)), unheard=range(4))
    explainer = Explainer(scorer)
    found = explainer.explain(draw.normal(size=(3, 4)))
    assert len(explainer.heard) == 0
    assert (found.points == 0).all()
    np.testing.assert_array_equal(found.probabilities, explainer.base)
    assert found.evaluations == 3  # each customer itself


def test_the_values_of_a_linear_network_are_weight_times_distance_from_the_mean(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    weights = np.array([0.5, -2.0, 0.25, 1.0])
    write_network(tmp_path, [("Gemm", ["x", "w", "b"], "y")], {"w": weights[:, None], "b": np.array([0.125])}, 4)
    background, customers = draw.normal(size=(7, 4)), draw.normal(size=(6, 4))
    scorer = as_scorer(MadeScorer(tmp_path, background, np.arange(4)))
    found = Explainer(scorer).explain(customers)
    np.testing.assert_allclose(found.points, weights * (customers - background.mean(axis=0)), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("composed", [False, True])
def test_copies_of_a_feature_share_its_effect_equally(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, composed: bool
) -> None:
    if composed:
        compose_always(monkeypatch)
    draw = np.random.default_rng(2)
    first = draw.normal(size=(4, 5))
    first[3] = first[0]
    write_network(
        tmp_path,
        [("Gemm", ["x", "w0", "b0"], "h"), ("Tanh", ["h"], "t"), ("Gemm", ["t", "w1", "b1"], "y")],
        {"w0": first, "b0": np.zeros(5), "w1": draw.normal(size=(5, 1)), "b1": np.zeros(1)},
        4,
    )
    background, customers = draw.normal(size=(6, 4)), draw.normal(size=(5, 4))
    background[:, 3], customers[:, 3] = background[:, 0], customers[:, 0]
    points = Explainer(as_scorer(MadeScorer(tmp_path, background, np.arange(4)))).explain(customers).points
    np.testing.assert_allclose(points[:, 0], points[:, 3], atol=TOLERANCE, rtol=0)
    assert np.abs(points[:, 0]).min() > 1e-3


def test_a_feature_that_the_network_does_not_hear_has_exactly_zero_and_costs_nothing(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    background, customers = draw.normal(size=(6, 5)), draw.normal(size=(4, 5))
    scorer = make_dense(tmp_path, 5, 3, background, unheard=[1, 4])
    explainer = Explainer(scorer)
    found = explainer.explain(customers)
    assert explainer.heard.tolist() == [0, 2, 3]
    assert (found.points[:, [1, 4]] == 0).all()
    assert found.evaluations == 4 * 6 * 2**3
    customers[:, [1, 4]] += 100
    np.testing.assert_array_equal(explainer.explain(customers).points, found.points)


def test_columns_of_one_feature_are_exchanged_together(tmp_path: Path) -> None:
    """Inputs 0 and 2 come from the same raw column, as an indicator and a value do."""
    draw = np.random.default_rng(4)
    background, customers = draw.normal(size=(5, 3)), draw.normal(size=(4, 3))
    make_dense(tmp_path, 4, 4, background)
    made = MadeScorer(tmp_path, background, np.array([1, 0, 1, 2]))
    found = Explainer(as_scorer(made)).explain(customers)
    for row, customer in enumerate(customers):
        expected = shapley_by_definition(made.predict, customer, background)
        np.testing.assert_allclose(found.points[row], expected, atol=TOLERANCE, rtol=0)


def test_equal_values_need_fewer_evaluations(tmp_path: Path) -> None:
    draw = np.random.default_rng(5)
    coarse, fine = draw.integers(0, 2, (20, 5)).astype(float), draw.normal(size=(20, 5))
    counts = {}
    for name, background in (("coarse", coarse), ("fine", fine)):
        explainer = Explainer(make_dense(tmp_path / name, 5, 5, background))
        counts[name] = explainer.explain(background[:4]).evaluations
    assert counts["coarse"] < counts["fine"] / 3
    assert counts["fine"] == 4 * 19 * 2**5


@settings(max_examples=25)
@given(st.data())
def test_any_network_is_explained_as_the_definition_says(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    features = data.draw(st.integers(1, 5))
    seed = data.draw(st.integers(0, 2**32 - 1))
    unheard = data.draw(st.sets(st.integers(0, features - 1)))
    coarse = data.draw(st.booleans())
    draw = np.random.default_rng(seed)
    rows = draw.normal(size=(data.draw(st.integers(1, 7)) + 2, features))
    rows = np.round(rows) if coarse else rows
    background, customers = rows[2:], rows[:2]
    folder = tmp_path_factory.mktemp("any")
    scorer = make_dense(folder, features, seed, background, unheard=sorted(unheard))
    with pytest.MonkeyPatch.context() as patch:
        explained = [Explainer(scorer)]
        compose_always(patch)
        explained.append(Explainer(scorer))
    kinds = [type(explainer._network) for explainer in explained]
    assert kinds == [AdditiveNetwork, ComposedNetwork]
    found = [explainer.explain(customers) for explainer in explained]
    for row, customer in enumerate(customers):
        expected = shapley_by_definition(scorer.predict, customer, background)
        for one in found:
            np.testing.assert_allclose(one.points[row], expected, atol=TOLERANCE, rtol=0)
            assert (one.points[row, sorted(unheard)] == 0).all()
