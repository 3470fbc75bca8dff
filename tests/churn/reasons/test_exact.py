from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from explained import make_dense

from churn.reasons.exact import divide, group_by_differences
from churn.reasons.explainer import Explainer

if TYPE_CHECKING:
    from pathlib import Path

    from churn.reasons.protocol import Cube


def make_cubes() -> list[Cube]:
    draw = np.random.default_rng(0)
    return group_by_differences(draw.random((40, 6)) < 0.5, np.array([0, 1, 3, 4]))


def test_customers_are_grouped_by_the_number_of_features_that_differ() -> None:
    differs = np.array([[0, 0, 0, 0], [0, 1, 1, 0], [1, 0, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0]], bool)
    found = group_by_differences(differs, np.array([0, 1, 3]))  # features of 1, 2 and 1 entries
    assert [(cube.rows.tolist(), cube.features.tolist()) for cube in found] == [
        ([0, 3], []),
        ([1, 4], [[1, 1]]),
        ([2], [[0], [2]]),
    ]


def test_without_features_all_customers_are_equal() -> None:
    (cube,) = group_by_differences(np.empty((3, 0), bool), np.empty(0, np.int64))
    assert (cube.rows.tolist(), cube.features.shape) == ([0, 1, 2], (0, 3))


@pytest.mark.parametrize("together", [1, 7, 16, 50, 10_000])
def test_cubes_are_divided_within_the_bound(together: int) -> None:
    cubes = make_cubes()
    batches = list(divide(cubes, together))
    for batch in batches:
        size = sum(len(cube.rows) << len(cube.features) for cube in batch)
        assert size <= together or sum(len(cube.rows) for cube in batch) == 1
        assert all(len(cube.rows) for cube in batch)
    divided = [
        (row, *features)
        for batch in batches
        for cube in batch
        for row, features in zip(cube.rows, cube.features.T.tolist(), strict=True)
    ]
    whole = [
        (row, *features) for cube in cubes for row, features in zip(cube.rows, cube.features.T.tolist(), strict=True)
    ]
    assert divided == whole
    assert (len(batches) == 1) == (together == 10_000)


def test_values_do_not_depend_on_how_many_mixtures_are_scored_together(tmp_path: Path) -> None:
    draw = np.random.default_rng(2)
    background, customers = draw.normal(size=(9, 5)).round(), draw.normal(size=(6, 5)).round()
    explainer = Explainer(make_dense(tmp_path, 5, 2, background))
    whole = explainer.explain(customers)
    for together in (1, 20, 100):
        explainer._network.together = together
        found = explainer.explain(customers)
        np.testing.assert_allclose(found.points, whole.points, atol=1e-6, rtol=0)
        assert found.evaluations == whole.evaluations
        sums = explainer.base + found.points.sum(axis=1)
        np.testing.assert_allclose(sums, found.probabilities, atol=1e-12, rtol=0)


def test_a_customer_of_the_background_has_its_probability(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    background = draw.normal(size=(9, 4))
    explainer = Explainer(make_dense(tmp_path, 4, 2, background))
    found = explainer.explain(background)
    assert abs(found.probabilities.mean() - explainer.base) < 1e-15
    np.testing.assert_allclose(explainer.base + found.points.sum(axis=1), found.probabilities, atol=1e-12, rtol=0)
