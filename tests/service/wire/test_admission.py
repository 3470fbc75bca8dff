"""How many requests may wait: as many as are scored within the longest wait, at the speed that is measured."""

from __future__ import annotations

import pytest

from service.wire.admission import LEAST_WAITING, Admission


def test_as_many_wait_as_are_scored_within_the_longest_wait() -> None:
    admission = Admission(0.15)
    for _ in range(1000):
        admission.measure(0.005, 100)
    assert admission.service_seconds == pytest.approx(50e-6, rel=0.01)
    assert admission.most_waiting == pytest.approx(3000, rel=0.01)
    assert admission.count_excess(admission.most_waiting) == 0
    assert admission.count_excess(admission.most_waiting + 7) == 7


def test_the_bound_follows_the_speed() -> None:
    admission = Admission(0.1)
    bounds = []
    for requests in (200, 20, 200):
        for _ in range(2000):
            admission.measure(0.005, requests)
        bounds.append(admission.most_waiting)
    assert bounds[0] == pytest.approx(4000, rel=0.01)
    assert bounds[1] == pytest.approx(400, rel=0.01)
    assert bounds[2] == pytest.approx(4000, rel=0.01)


def test_a_long_pause_does_not_close_the_service() -> None:
    admission = Admission(0.1)
    for _ in range(1000):
        admission.measure(0.005, 100)
    before = admission.most_waiting
    admission.measure(3600.0, 1)
    assert admission.most_waiting > before / 2
    for _ in range(10_000):
        admission.measure(1.0, 0)
    assert admission.most_waiting == LEAST_WAITING
    assert admission.count_excess(LEAST_WAITING) == 0
