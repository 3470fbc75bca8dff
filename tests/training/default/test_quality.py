"""The comparison with peers: that a kept fit is named by exactly the code and the table it comes from."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bank import REPOSITORY
from quick import make_options

from training import job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType, ModuleType

    from training.dataset import Dataset

OURS = [("training.job", "fit"), ("training.job", "Options")]

MODULES = {
    "room/__init__.py": "from room.setting import prepare\nprepare()\n",
    "room/setting.py": "def prepare():\n    pass\n",
    "room/job.py": (
        "from room import net\nfrom room.report import Data, draw\n\n"
        "def fit(rows: Data) -> float:\n    '''Fit.'''\n    from room.late import finish\n"
        "    return finish(net.fit(rows))\n\n"
        "def train(rows):\n    draw(fit(rows))\n"
    ),
    "room/net.py": "STEPS = 3\n\ndef fit(rows):\n    return sum(rows) * STEPS\n\ndef unused():\n    pass\n",
    "room/late.py": "class Last:\n    share: float = 0.5\n\ndef finish(value):\n    return value * Last.share\n",
    "room/report.py": "class Data:\n    pass\n\ndef draw(value):\n    print(value)\n",
}


@pytest.fixture
def code_digest(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module that finds code."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    import code_digest

    code_digest.Module.load.cache_clear()
    yield code_digest
    code_digest.Module.load.cache_clear()


@pytest.fixture
def room(code_digest: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A package of a few modules."""
    for name, text in MODULES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(code_digest, "FOLDERS", (tmp_path,))
    return tmp_path / "room"


def change(code_digest: ModuleType, path: Path, old: str, new: str) -> bool:
    """Say whether the digest of `fit` changes with the text."""
    before, text = code_digest.digest([("room.job", "fit")]), path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    code_digest.Module.load.cache_clear()
    after = code_digest.digest([("room.job", "fit")])
    path.write_text(text)
    code_digest.Module.load.cache_clear()
    return bool(before != after)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("job.py", "finish(net.fit(rows))", "net.fit(rows)"),
        ("net.py", "* STEPS", "+ STEPS"),
        ("net.py", "STEPS = 3", "STEPS = 4"),
        ("late.py", "0.5", "0.25"),
        ("setting.py", "pass", "print()"),
        ("__init__.py", "prepare()", "prepare"),
    ],
)
def test_what_the_function_reaches_changes_the_name(
    code_digest: ModuleType, room: Path, file: str, old: str, new: str
) -> None:
    assert change(code_digest, room / file, old, new)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("job.py", "draw(fit(rows))", "draw(rows)"),
        ("job.py", "'''Fit.'''", "'''Train again.'''"),
        ("job.py", "rows: Data", "rows: int"),
        ("net.py", "pass", "print()"),
        ("net.py", "STEPS = 3", "STEPS = 3  # a comment"),
        ("late.py", "share: float", "share: int"),
        ("report.py", "print(value)", "print(value, value)"),
    ],
)
def test_what_it_does_not_reach_does_not(code_digest: ModuleType, room: Path, file: str, old: str, new: str) -> None:
    assert not change(code_digest, room / file, old, new)


@pytest.mark.usefixtures("room")
def test_a_root_that_is_not_there_is_named(code_digest: ModuleType) -> None:
    with pytest.raises(KeyError, match=r"no learn in room\.job"):
        code_digest.digest([("room.job", "learn")])
    with pytest.raises(KeyError, match=r"no module room\.school"):
        code_digest.digest([("room.school", "fit")])


def test_training_is_reached_and_the_report_is_not(code_digest: ModuleType) -> None:
    found = set(code_digest.collect_code(OURS))
    assert ("churn.layers", "ObliviousTrees") in found
    assert ("training.default.trees", "fit_bag") in found
    assert ("training.trained", "FittedModel") in found
    assert not {("training.publication", "write_bundle"), ("training.job", "train")} & found
    assert {name for module, name in found if module.startswith("training.report")} == {"", "Costs"}


def name_place(code: CodeType) -> Iterator[tuple[str, str]]:
    """Yield the module and the definition that code of ours belongs to."""
    path, name = Path(code.co_filename), code.co_qualname.partition(".")[0]
    if path.is_relative_to(REPOSITORY) and path.relative_to(REPOSITORY).parts[0] in ("churn", "training"):
        module = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
        if not name.startswith("<"):  # a module's own statements
            yield module, name


@pytest.mark.slow
def test_all_code_that_runs_while_a_network_is_trained_is_reached(code_digest: ModuleType, dataset: Dataset) -> None:
    codes: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            codes.add(frame.f_code)

    rows = {"train": np.arange(len(dataset.labels))}
    options = make_options()
    sys.setprofile(note)
    try:
        job.fit(dataset, rows, options).predict(dataset.raw[:5])
    finally:
        sys.setprofile(None)
    ran = {place for code in codes for place in name_place(code)}
    assert ("training.default.assemble", "assemble") in ran
    assert not ran - set(code_digest.collect_code(OURS))


@pytest.mark.usefixtures("code_digest")
def test_a_result_is_named_by_code_and_table_and_scored_when_read(dataset: Dataset, tmp_path: Path) -> None:
    import quality

    path = quality.result_path(tmp_path, dataset, "ours", 3)
    assert path.name == f"ours-{quality.fingerprint('ours')}-{dataset.source['sha256'][:8]}-3.json"
    assert quality.fingerprint("catboost") != quality.fingerprint("catboost-bag") != quality.fingerprint("ours")
    path.write_text(json.dumps({"labels": [0, 1, 1, 0], "probabilities": [0.1, 0.9, 0.4, 0.2]}))
    scores = quality.read_result(path)["scores"]
    assert scores["roc_auc"] == 1
    assert scores["log_loss"] == pytest.approx(-np.log([0.9, 0.9, 0.4, 0.8]).mean())
