"""A date and an open category in what training writes: the report's columns and groups, histograms, golden rows."""

from __future__ import annotations

import numpy as np

from churn.columns import as_customers, encode_columns
from churn.drift import Bins
from churn.feature import Feature
from churn.measures.groups import split_feature
from churn.schema import Schema
from training.evaluate import Part
from training.golden import draw_golden_rows
from training.histograms import count_features
from training.preprocess import Encoding, as_objects, fit_preprocessor
from training.report.summary import summarise

SCHEMA = Schema(
    (
        Feature("since", "date", format="%d/%m/%Y", nullable=True),
        Feature("city", "category", categories=("Bern", "Zug"), open=True),
    ),
    "left",
)


def draw(rows: int = 400) -> np.ndarray:
    generator = np.random.default_rng(0)
    since = generator.integers(12_000, 16_000, rows).astype(float)
    since[::10] = np.nan
    return np.column_stack([since, generator.integers(0, 3, rows)])


def test_golden_rows_are_texts_that_are_read_back() -> None:
    raw = draw_golden_rows(SCHEMA, draw(), 0)
    customers = as_customers(SCHEMA, raw)
    assert {customer["city"] for customer in customers} == {"Bern", "Zug", "(other)"}
    columns = {name: [customer[name] for customer in customers] for name in SCHEMA.names}
    assert np.array_equal(encode_columns(SCHEMA, columns), raw, equal_nan=True)


def test_histograms_have_bins_for_dates_and_for_what_is_not_listed() -> None:
    raw = draw()
    found = count_features(SCHEMA, raw)
    assert found["city"]["values"] == ["Bern", "Zug", "(other)"]
    assert found["since"]["missing"] == 40
    bins = Bins("since", found["since"], has_gaps=True, are_dates=True)
    assert bins.labels[1].startswith("[20")
    assert bins.count(raw[:, 0]).tolist() == [*found["since"]["counts"], 40]


def test_the_report_shows_dates_as_dates() -> None:
    raw = draw()
    labels = (np.arange(len(raw)) % 4 == 0).astype(float)
    since, city = summarise(SCHEMA, [Part("test", raw, labels, labels)])
    assert since.kind == "date"
    assert since.values.startswith("200")
    assert " to 2013-" in since.values
    assert all("-" in bar.label for bar in since.bars)
    assert [bar.label for bar in city.bars] == ["Bern", "Zug", "(other)"]
    groups = [name for name, _ in split_feature(SCHEMA["since"], raw[:, 0])]
    assert len(groups) == 5
    assert groups[-1] == "missing"
    assert all(name.count("-") == 4 for name in groups[:-1])
    assert [name for name, _ in split_feature(SCHEMA["city"], raw[:, 1])] == ["Bern", "Zug", "(other)"]


def test_the_preprocessor_scales_dates_and_marks_what_is_not_listed() -> None:
    raw = draw()
    transformer, preprocessor = fit_preprocessor(SCHEMA, raw, Encoding())
    matrix = preprocessor.transform(raw)
    assert np.allclose(matrix, transformer.transform(as_objects(SCHEMA, raw)), atol=1e-5)
    names = list(preprocessor.names)
    assert abs(matrix[:, names.index("since")].mean()) < 0.2
    levels = [raw[:, 1] == code for code in range(3)]
    assert len({tuple(np.unique(matrix[level][:, 1:4], axis=0)[0]) for level in levels}) == 3
