"""A small form of benchmarks/mutations.py: no alteration of a version hurts, and a signed one keeps its scores."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from bank import REPOSITORY
from bundles import CUSTOMER
from judging import NAMED, Judge
from mutating import Mutator, Sources
from tampering import contents, forge_manifest

from churn.engines import OnnxEngine

if TYPE_CHECKING:
    from pathlib import Path

MODEL = REPOSITORY / "models" / "1"
COUNT = 300


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A version with another threshold."""
    folder = shutil.copytree(MODEL, tmp_path / "other" / "2")
    forge_manifest(folder, lambda content: content.update(version=2, threshold=0.9))
    return folder


@pytest.mark.parametrize("signed", [False, True])
def test_an_altered_version_is_refused_in_one_line_or_scores_as_before(
    tmp_path: Path, other: Path, *, signed: bool
) -> None:
    judge = Judge(MODEL, other, tmp_path / "work", signed=signed)
    verdicts = [judge.judge(number) for number in range(COUNT)]
    assert [verdict for verdict in verdicts if verdict.outcome == "traceback"] == []
    changed = [verdict for verdict in verdicts if verdict.outcome == "other scores"]
    assert all(verdict.is_forged and verdict.kind in NAMED for verdict in changed)
    if signed:
        assert changed == []
        assert Counter(v.outcome for v in verdicts if v.is_forged) == {"refused": COUNT // 2}
    else:
        assert "the whole version" in {verdict.kind for verdict in changed}
    assert len({verdict.kind for verdict in verdicts}) > 30


def test_other_scores_are_seen(tmp_path: Path, other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Judge(MODEL, other, tmp_path / "work", signed=False)
    damage = next(n for n in range(0, COUNT, 2) if judge.judge(n).outcome == "same scores")
    predict = OnnxEngine.predict
    monkeypatch.setattr(
        OnnxEngine, "predict", lambda engine, matrix: predict(engine, matrix) + 1e-5 * (len(matrix) == 200)
    )
    assert judge.judge(damage).outcome == "other scores"


def test_what_is_raised_and_messages_of_several_lines_are_tracebacks(
    tmp_path: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Judge(MODEL, other, tmp_path / "work", signed=False)

    def fail(*_: Any, **__: Any) -> None:
        raise KeyError(CUSTOMER["Age"])

    monkeypatch.setattr("judging.load_scorer", fail)
    assert judge.judge(0).outcome == "traceback"


def test_the_same_number_makes_the_same_alteration(tmp_path: Path, other: Path) -> None:
    sources = Sources(MODEL, other)
    found: list[dict[str, bytes]] = []
    for name in ("x", "y"):
        folder = tmp_path / name
        folder.mkdir()
        for number in range(1, 41, 2):
            Mutator(sources, number).forge(folder / str(number))
        found.append(contents(folder))
    assert found[0] == found[1]
