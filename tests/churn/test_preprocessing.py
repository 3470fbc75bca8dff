from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bank import draw_customers, with_gaps, write_csv
from hypothesis import given, settings
from hypothesis import strategies as st

from churn.errors import BundleError
from churn.feature import Feature
from churn.preprocessing import Preprocessor
from churn.schema import Schema
from training.dataset import Dataset, load_dataset
from training.preprocess import FIT_ROWS, PLAIN, Encoding, as_objects, fit_preprocessor, quiet_about_gaps

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT = Encoding()
MINIMAL = Encoding(max_levels=0, only_levels=0, spike_share=1.0)
WITHOUT_ONE = Encoding(drop="if_binary", max_levels=4, only_levels=2, spike_share=0.3)
encodings = pytest.mark.parametrize(
    "encoding", [DEFAULT, PLAIN, MINIMAL, WITHOUT_ONE], ids=["default", "plain", "minimal", "without one"]
)


def largest_difference(dataset: Dataset, encoding: Encoding, fitted_on: slice = slice(None)) -> float:
    transformer, preprocessor = fit_preprocessor(dataset.schema, dataset.raw[fitted_on], encoding)
    with quiet_about_gaps():
        expected = transformer.transform(as_objects(dataset.schema, dataset.raw))
    found = preprocessor.transform(dataset.raw)
    assert found.dtype == np.float32
    assert found.shape == expected.shape == (len(dataset.raw), preprocessor.width)
    return float(np.abs(found - expected).max())


@encodings
def test_the_public_table_is_transformed_as_by_scikit_learn(public_table: Path, encoding: Encoding) -> None:
    dataset = load_dataset(public_table)
    assert len(dataset.raw) == 10_000
    assert largest_difference(dataset, encoding, slice(6400)) <= 1e-6


@encodings
def test_drawn_customers_are_transformed_as_by_scikit_learn(tmp_path: Any, encoding: Encoding) -> None:
    dataset = load_dataset(write_csv(tmp_path / "bank.csv", draw_customers(3000)))
    assert largest_difference(dataset, encoding, slice(2000)) <= 1e-6


@encodings
def test_gaps_in_numbers_flags_and_categories_are_transformed_as_by_scikit_learn(
    dataset: Dataset, encoding: Encoding
) -> None:
    gaps = {feature.name: feature.kind for feature in dataset.schema.features if feature.nullable}
    assert gaps == {"Geography": "category", "Balance": "number", "HasCrCard": "flag"}
    assert largest_difference(dataset, encoding, slice(500)) <= 1e-6


@encodings
def test_a_table_of_categories_alone_is_transformed_as_by_scikit_learn(encoding: Encoding) -> None:
    features = (Feature("a", "category", categories=("x", "y", "z"), nullable=True), Feature("b", "flag"))
    raw = np.array([[0, 0], [1, 1], [2, 0], [np.nan, 1]] * 5, dtype=np.float64)
    for chosen in (features, features[:1], features[1:]):
        dataset = Dataset(Schema(chosen, "left"), raw[:, : len(chosen)], raw[:, 1], {}, ())
        assert largest_difference(dataset, encoding) <= 1e-6


@encodings
def test_a_quantity_that_was_never_seen_or_never_changed_does_no_harm(encoding: Encoding) -> None:
    features = (Feature("empty", "number", nullable=True), Feature("same", "number"), Feature("x", "number"))
    raw = np.column_stack([np.full(20, np.nan), np.full(20, 7.0), np.arange(20.0)])
    dataset = Dataset(Schema(features, "left"), raw, raw[:, 0], {}, ())
    assert largest_difference(dataset, encoding) <= 1e-6
    _, preprocessor = fit_preprocessor(dataset.schema, raw, encoding)
    assert np.isfinite(preprocessor.transform(raw)).all()


def test_the_matrix_by_hand() -> None:
    features = (
        Feature("age", "integer"),
        Feature("card", "flag"),
        Feature("land", "category", categories=("x", "y")),
        Feature("balance", "number", nullable=True),
    )
    raw = np.array([[20, 0, 0, 1], [40, 1, 1, np.nan], [60, 1, 0, 3]], dtype=np.float64)
    _, preprocessor = fit_preprocessor(Schema(features, "left"), raw, MINIMAL)
    assert preprocessor.names == ("age", "balance", "card", "land is x", "land is y", "balance is missing")
    age = 20 / np.std([20, 40, 60])
    balance = 1 / np.std([1, 2, 3])  # the gap holds the median, 2
    expected = [[-age, -balance, 0, 1, 0, 0], [0, 0, 1, 0, 1, 1], [age, balance, 1, 1, 0, 0]]
    assert preprocessor.transform(raw) == pytest.approx(np.array(expected), abs=1e-6)


def test_a_gap_is_filled_with_the_median() -> None:
    schema = Schema((Feature("balance", "number", nullable=True),), "left")
    _, preprocessor = fit_preprocessor(schema, np.array([[1.0], [2.0], [np.nan], [30.0]]), MINIMAL)
    assert preprocessor.value_fill.tolist() == [2.0]


def test_few_levels_and_a_frequent_value_get_a_column_each() -> None:
    schema = Schema((Feature("products", "integer"), Feature("balance", "number")), "left")
    raw = np.column_stack([np.arange(100) % 4 + 1, np.where(np.arange(100) < 30, 0, np.arange(100) + 0.5)])
    levels = tuple(f"products is {level}" for level in (1, 2, 3, 4))

    def names(max_levels: int, only_levels: int, spike_share: float) -> tuple[str, ...]:
        encoding = Encoding(max_levels=max_levels, only_levels=only_levels, spike_share=spike_share)
        return fit_preprocessor(schema, raw, encoding)[1].names

    assert names(4, 3, 0.3) == ("products", "balance", *levels, "balance is 0")
    assert names(4, 4, 0.3) == ("balance", *levels, "balance is 0")
    assert names(3, 3, 0.31) == ("products", "balance")
    assert names(4, 4, 0.31) == ("balance", *levels)


def test_a_spike_scales_to_zero_and_the_others_without_it() -> None:
    schema = Schema((Feature("balance", "number", nullable=True),), "left")
    raw = np.array([0.0] * 30 + [*range(100, 150), *[np.nan] * 5]).reshape(-1, 1)
    encoding = Encoding(max_levels=4, only_levels=0, spike_share=0.3)
    dataset = Dataset(schema, raw, raw[:, 0], {}, ())
    assert largest_difference(dataset, encoding) <= 1e-6
    _, preprocessor = fit_preprocessor(schema, raw, encoding)
    assert preprocessor.names == ("balance", "balance is 0", "balance is missing")
    others = np.arange(100.0, 150.0)
    matrix = preprocessor.transform(raw)
    assert np.abs(matrix[:30, 0]).max() < 1e-12
    assert matrix[:30, 1].tolist() == [1.0] * 30
    assert np.corrcoef(matrix[30:80, 0], others)[0, 1] == pytest.approx(1)
    assert preprocessor.transform(np.array([[124.5]]))[0, 0] == pytest.approx(0, abs=0.3)


def test_a_gap_whose_median_is_the_spike_counts_as_the_spike() -> None:
    schema = Schema((Feature("balance", "number", nullable=True),), "left")
    raw = np.array([0.0] * 60 + [*range(100, 140), np.nan]).reshape(-1, 1)
    dataset = Dataset(schema, raw, raw[:, 0], {}, ())
    encoding = Encoding(max_levels=4, only_levels=0, spike_share=0.3)
    assert largest_difference(dataset, encoding) <= 1e-6
    assert fit_preprocessor(schema, raw, encoding)[1].transform(raw[-1:])[0] == pytest.approx([0, 0, 1], abs=1e-12)


def test_the_plain_encoding_leaves_the_first_category_out_and_scales_everything(dataset: Dataset) -> None:
    _, preprocessor = fit_preprocessor(dataset.schema, dataset.raw, PLAIN)
    assert "Geography is France" not in preprocessor.names
    assert "Gender is Male" in preprocessor.names
    matrix = preprocessor.transform(dataset.raw)
    assert matrix.mean(axis=0) == pytest.approx(np.zeros(preprocessor.width), abs=1e-5)
    assert matrix.std(axis=0) == pytest.approx(np.ones(preprocessor.width), abs=1e-4)


def test_no_more_rows_are_fitted_on_than_move_the_numbers() -> None:
    schema = Schema((Feature("x", "number"),), "left")
    raw = np.zeros((FIT_ROWS + 1, 1))
    raw[-1] = 1e9
    _, preprocessor = fit_preprocessor(schema, raw, MINIMAL)
    assert preprocessor.center.tolist() == [0.0]


def test_a_missing_category_is_text_again_as_a_gap() -> None:
    schema = Schema((Feature("a", "category", categories=("x", "y"), nullable=True), Feature("n", "number")), "left")
    objects = as_objects(schema, np.array([[1, 5], [np.nan, 6], [0, np.nan]]))
    assert repr(objects.tolist()) == repr([["y", 5.0], [np.nan, 6.0], ["x", np.nan]])


rows = st.lists(
    st.tuples(
        st.none() | st.integers(0, 2),
        st.sampled_from([0.0, 1.0]),
        st.none() | st.floats(-1e15, 1e15) | st.sampled_from([0.0, 50.5]),
    ),
    min_size=1,
    max_size=10,
)


@settings(max_examples=200)
@given(rows)
def test_a_row_alone_is_transformed_to_the_last_bit_as_in_a_matrix(customers: list[tuple[float | None, ...]]) -> None:
    raw = np.array(customers, dtype=np.float64)
    transform_row = ROW_BY_ROW.make_row_transform()
    assert np.concatenate([transform_row(row) for row in raw.tolist()]).tobytes() == ROW_BY_ROW.transform(raw).tobytes()


def _fit_small() -> Preprocessor:
    features = (
        Feature("land", "category", categories=("x", "y", "z"), nullable=True),
        Feature("card", "flag"),
        Feature("balance", "number", nullable=True),
    )
    draw = np.random.default_rng(0)
    raw = np.column_stack([draw.integers(0, 3, 50), draw.integers(0, 2, 50), draw.normal(50, 20, 50)]).astype(float)
    raw[::7, 0] = np.nan
    raw[::5, 2] = np.nan
    raw[1::5, 2] = 50.5
    return fit_preprocessor(Schema(features, "left"), raw, Encoding(max_levels=3, only_levels=0))[1]


ROW_BY_ROW = _fit_small()


def test_no_customers_are_an_empty_matrix() -> None:
    assert ROW_BY_ROW.transform(np.empty((0, 3))).shape == (0, ROW_BY_ROW.width)


def test_the_arrays_survive_json_to_the_last_bit() -> None:
    again = Preprocessor.from_dict(json.loads(json.dumps(ROW_BY_ROW.to_dict())))
    assert again.names == ROW_BY_ROW.names
    assert np.isfinite(ROW_BY_ROW.value_spike).tolist() == [True, False]
    for name in (
        "value_source",
        "value_fill",
        "value_spike",
        "spike_fill",
        "equal_source",
        "equal_value",
        "missing_source",
        "center",
        "scale",
    ):
        assert getattr(again, name).tobytes() == getattr(ROW_BY_ROW, name).tobytes()
        assert getattr(again, name).dtype == getattr(ROW_BY_ROW, name).dtype


@pytest.mark.parametrize("name", sorted(ROW_BY_ROW.to_dict()))
def test_arrays_that_do_not_fit_together_are_refused(name: str) -> None:
    data = ROW_BY_ROW.to_dict()
    with pytest.raises(BundleError, match="differ in length"):
        Preprocessor.from_dict(data | {name: data[name][:-1]})
    with pytest.raises(BundleError, match=f"can't be read: KeyError\\('{name}'\\)"):
        Preprocessor.from_dict({key: value for key, value in data.items() if key != name})


def test_arrays_that_hold_no_numbers_are_refused() -> None:
    with pytest.raises(BundleError, match="can't be read: ValueError"):
        Preprocessor.from_dict(ROW_BY_ROW.to_dict() | {"scale": ["wide"]})


def test_a_table_with_gaps_has_them_in_all_three_kinds() -> None:
    table = with_gaps(draw_customers(200))
    assert table[["Balance", "HasCrCard", "Geography"]].isna().any().all()
