from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tampering import forge_manifest

from churn.bundle import read_bundle
from churn.errors import BundleError
from churn.reasons.explainer import Explainer
from churn.scorer import load_scorer
from churn.trust.support import MEMBERS_FILE, NEIGHBOURS_FILE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def folder(own_models: Path) -> Path:
    return own_models / "1"


def test_a_version_has_what_training_wrote(folder: Path) -> None:
    found = read_bundle(folder).support
    assert found is not None
    assert found.reference.shape == (400, found.space.width)
    assert found.members is not None
    assert found.members.network == (folder / MEMBERS_FILE).read_bytes()


def test_an_older_version_has_reasons_and_no_support(folder: Path) -> None:
    for name in (NEIGHBOURS_FILE, MEMBERS_FILE):
        (folder / name).unlink()
    forge_manifest(folder, lambda content: content.pop("support"))
    scorer = load_scorer(folder, "onnx")
    assert scorer.support is None
    explainer = Explainer(scorer)
    raw = explainer.background[:2]
    assert explainer.find_support(raw, explainer.explain(raw)) == [None, None]


def put(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["support"].__setitem__(key, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("axes", []), "support.axes: expected array of length >= 1"),
        (put("axes", [{"source": 99}]), r"support.axes: has the columns \[99\]; allowed: ascending ones from 0 to 9"),
        (put("axes", [{"source": 3, "scale": 1.0}, {"source": 3, "scale": 1.0}]), r"the columns \[3, 3\]"),
        (put("axes", [{"source": 0}]), "CreditScore is of kind integer, which has another kind of axis"),
        (put("axes", [{"source": 1, "scale": 1.0}]), "Geography is of kind category"),
        (put("axes", [{"source": 1, "colour": 1}]), "unknown field colour"),
        (put("neighbours", 0), "support.neighbours: expected int >= 1"),
        (put("neighbours", 900), "has 400 rows; allowed: at least 900, support.neighbours"),
        (put("distances", [2.0, 1.0]), "support.distances: must ascend"),
        (put("distances", []), "support.distances"),
        (put("usual", [0.5]), "support.usual: has 1 numbers; allowed: [0-9]+, one for each axis"),
        (put("members", {"factor": -1, "variance": 0.1}), "support.members.factor"),
        (
            lambda content: content["support"].update(axes=[{"source": 1}, {"source": 2}], usual=[0.1, 0.1]),
            rf"{NEIGHBOURS_FILE}: has the shape \(400, .+\); allowed: 1 to",
        ),
    ],
)
def test_a_wrong_entry_is_refused(folder: Path, change: Callable[[dict[str, Any]], None], message: str) -> None:
    forge_manifest(folder, change)
    with pytest.raises(BundleError, match=message):
        read_bundle(folder)


def test_wrong_neighbours_are_refused(folder: Path) -> None:
    reference = np.load(folder / NEIGHBOURS_FILE)
    reference[3, 1] = np.nan
    np.save(folder / NEIGHBOURS_FILE, reference)
    forge_manifest(folder, lambda _: None)
    with pytest.raises(BundleError, match=f"{NEIGHBOURS_FILE}: has numbers that are not finite"):
        read_bundle(folder)
    (folder / NEIGHBOURS_FILE).write_bytes(b"\0" * 2**20)
    forge_manifest(folder, lambda _: None)
    with pytest.raises(BundleError, match="allowed: at most"):
        read_bundle(folder)


@pytest.mark.parametrize("name", [NEIGHBOURS_FILE, MEMBERS_FILE])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    forge_manifest(folder, lambda _: None)
    with pytest.raises(BundleError, match=f"support: needs {name}, which is not listed in files"):
        read_bundle(folder)
