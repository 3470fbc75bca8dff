from __future__ import annotations

import numpy as np
import pytest

from churn.reasons.rounding import DECIMALS, round_points

UNIT = 10**DECIMALS


@pytest.mark.parametrize("seed", range(5))
def test_rounded_values_add_up_in_whole_units_and_stay_near(seed: int) -> None:
    draw = np.random.default_rng(seed)
    points = draw.normal(size=(50, 7)) / 10
    points[:, 2] = 0
    base = 0.2037123456
    probabilities = (base + points.sum(axis=1)).round(DECIMALS) + draw.integers(-1, 2, 50) / UNIT
    rounded, start = round_points(points, probabilities, base)
    units = np.rint(rounded * UNIT).astype(int)
    np.testing.assert_allclose(rounded * UNIT, units, atol=1e-6, rtol=0)
    assert start == round(base, DECIMALS)
    np.testing.assert_array_equal(units.sum(axis=1) + round(start * UNIT), np.rint(probabilities * UNIT).astype(int))
    assert np.abs(rounded - points).max() <= 1.5 / UNIT
    assert (rounded[:, 2] == 0).all()


def test_values_of_a_network_that_hears_nothing_stay_zero() -> None:
    rounded, base = round_points(np.zeros((2, 3)), np.array([0.25, 0.250001]), 0.25)
    assert (rounded == 0).all()
    assert base == 0.25
