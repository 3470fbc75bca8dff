"""What `churn train` prints of a network and its scores, without training one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cli import train
from training.evaluate import score

if TYPE_CHECKING:
    from pathlib import Path

LABELS = np.repeat([1.0, 0.0], [20, 80])


def make_outcome(folder: Path, details: dict[str, Any], probabilities: np.ndarray) -> Any:
    model = SimpleNamespace(count_params=lambda: 14)
    fitted = SimpleNamespace(result=SimpleNamespace(details=details, model=model))
    return SimpleNamespace(
        trained=SimpleNamespace(fitted=fitted, settings={"threshold": 0.5}),
        scores={"test": score(LABELS, probabilities)},
        folder=folder,
        microseconds=5.0,
        engine_difference=1e-7,
    )


@pytest.mark.parametrize(("found", "is_told"), [(1, True), (2, False)])
def test_a_threshold_that_finds_hardly_anybody_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, found: int, is_told: bool
) -> None:
    probabilities = np.where(np.arange(100) < found, 0.9, 0.1)
    train._print_scores(make_outcome(tmp_path, {}, probabilities))
    told = capsys.readouterr().out
    assert f"test: {found} of 20 leavers found; 0 of 80 stayers predicted to leave" in told
    assert ("above the threshold of 0.5: rank customers by probability, or set --threshold" in told) == is_told


DETAILS: dict[str, Any] = {
    "choice": {"depth": 5},
    "trees": 300,
    "stack": {"trees": 0.9, "tails": 0.3},
    "out_of_fold": {"trees": 0.31, "tails": 0.69, "stack": 0.3, "share of leavers": 0.5},
}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "the network is the stack itself: 300 trees of depth 5 at most, 14 weights, "),
        ({"stack": {"trees": 0.0, "tails": 0.0}, "trees": 0}, "the network is the share of leavers: 14 weights, "),
        ({"student": {"hidden": [64, 32]}}, "the network is a student of the stack: hidden layers of 64 and 32 units"),
    ],
)
def test_the_network_is_named_and_what_corrects_others_has_no_loss(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, changes: dict[str, Any], line: str
) -> None:
    train._print_stack(make_outcome(tmp_path, DETAILS | changes, np.full(100, 0.2)))
    lines = capsys.readouterr().out.splitlines()
    assert any(one.startswith(line) for one in lines)
    (tails,) = [one.split() for one in lines if one.startswith("tails")]
    assert tails[1] == "-"
    assert ["trees", "0.3100"] in [one.split()[:2] for one in lines]
