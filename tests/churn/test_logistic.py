"""The logistic function against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from churn.logistic import expit, logit

LOGITS = np.array([-800.0, -40.0, -2.5, 0.0, 1e-9, 2.5, 30.0, 800.0])


@pytest.mark.filterwarnings("error")
def test_probabilities_are_those_of_scipy() -> None:
    np.testing.assert_allclose(expit(LOGITS), special.expit(LOGITS), rtol=1e-15, atol=1e-300)
    assert expit(-800.0) == 0.0
    assert expit(0.0) == 0.5


def test_logits_are_those_of_scipy() -> None:
    probabilities = np.array([[5e-324, 1e-20, 5e-7], [0.3, 0.5, 1 - 5e-7]])
    np.testing.assert_allclose(logit(probabilities), special.logit(probabilities), rtol=1e-14, atol=1e-16)
    assert logit(0.75) == pytest.approx(np.log(3), rel=1e-15)
