from __future__ import annotations

import numpy as np
import pytest
from bank import REPOSITORY
from hypothesis import given
from hypothesis import strategies as st

from churn.bundle import read_bundle
from churn.drift import Bins, Drift, population_stability_index
from churn.errors import BundleError
from churn.feature import Feature
from churn.registry import Registry
from churn.schema import Schema
from training.histograms import count_features

SCHEMA = Schema(
    (
        Feature("amount", "number", nullable=True),
        Feature("children", "integer", minimum=0, trained_minimum=0, trained_maximum=5),
        Feature("plan", "category", categories=("a", "b", "c"), nullable=True),
        Feature("paperless", "flag"),
    ),
    "Customer",
    "left",
)


def draw_raw(rows: int, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    raw = np.column_stack(
        [draw.normal(size=rows), draw.integers(0, 6, rows), draw.integers(0, 3, rows), draw.integers(0, 2, rows)]
    )
    raw[draw.random(rows) < 0.1, 0] = np.nan
    raw[draw.random(rows) < 0.1, 2] = np.nan
    return raw


def test_bins_hold_what_training_counted() -> None:
    raw = draw_raw(500, 1)
    histograms = count_features(SCHEMA, raw)
    for feature, column in zip(SCHEMA.features, raw.T, strict=True):
        bins = Bins(feature.name, histograms[feature.name], has_gaps=feature.nullable)
        assert bins.count(column).tolist() == bins.counts.tolist()
        assert bins.counts.sum() == 500
        assert bins.shares.sum() == pytest.approx(1)


@given(st.lists(st.floats(-3, 3) | st.just(float("nan")), max_size=40), st.sets(st.integers(-3, 3), max_size=5))
def test_a_value_falls_into_the_bin_between_its_edges(values: list[float], cuts: set[int]) -> None:
    edges = sorted(cuts)
    bins = Bins("x", {"edges": edges, "counts": [0] * (len(edges) + 1), "missing": 0}, has_gaps=True)
    expected = [0] * (len(edges) + 2)
    for value in values:
        expected[len(edges) + 1 if value != value else sum(value >= edge for edge in edges)] += 1
    assert bins.count(np.array(values, dtype=np.float64)).tolist() == expected


def test_bins_are_named_as_people_write_intervals() -> None:
    assert Bins("x", {"edges": [1.5, 20.0], "counts": [1, 2, 3]}).labels == ("(-inf, 1.5)", "[1.5, 20)", "[20, inf)")
    close = Bins("x", {"edges": [1.00000001, 1.00000002], "counts": [1, 2, 3]})
    assert close.labels[1] == "[1.00000001, 1.00000002)"
    assert Bins("x", {"values": ["a", "b"], "counts": [1, 2], "missing": 3}, has_gaps=True).labels == (
        "a",
        "b",
        "missing",
    )


@pytest.mark.parametrize("histogram", [{}, {"edges": [1.0], "counts": [1]}, {"edges": ["x"], "counts": [1, 2]}])
def test_a_histogram_that_makes_no_sense_is_refused_by_name(histogram: dict[str, object]) -> None:
    with pytest.raises(BundleError, match="histogram of Age"):
        Bins("Age", histogram)


def test_the_shipped_model_counts_its_customers() -> None:
    manifest = read_bundle(Registry(REPOSITORY / "models").current_folder()).manifest
    drift = Drift(manifest)
    assert [bins.name for bins in drift.features] == list(manifest.schema.names)
    raw = np.tile([[float(b.edges[0]) if b.edges else 0.0 for b in drift.features]], (3, 1))
    counts = drift.count(raw)
    assert [int(count[1]) for count in counts] == [3] * len(counts)
    assert drift.count_scores(np.array([0.0, 0.049, 0.05, 1.0])).tolist() == [2, 1, *[0] * 17, 1]
    age = manifest.schema.names.index("Age")
    raw[0, age] = 1000
    assert drift.count_unusual(raw).tolist() == [int(position == age) for position in range(len(counts))]


def test_the_index_is_nought_for_the_same_and_grows_with_the_distance() -> None:
    assert population_stability_index([10, 20], [0.1, 0.2]) == pytest.approx(0)
    # (0.5 - 0.25) ln 2 + (0.5 - 0.75) ln(2/3), by hand
    assert population_stability_index([1, 3], [1, 1]) == pytest.approx(0.274653, abs=1e-6)
    assert population_stability_index([1, 1], [0, 1]) == pytest.approx((0.5 - 1e-4) * np.log(5000) + 0.5 * np.log(2))
    assert np.isnan(population_stability_index([1, 1], [0, 0]))
