from __future__ import annotations

import importlib
import sys

import pytest
from processes import run_python

from churn.runtime.imports import TRAINING_ONLY, block_imports

PYARROW = """
import sys
from churn.runtime.imports import block_imports
with block_imports():
    import service.tables.job
    import pyarrow as pa
    pa.array([1.5]).to_numpy()
pa.array(["x"])
print("pandas" in sys.modules)
import matplotlib, pandas, sklearn
"""


@pytest.mark.parametrize("name", TRAINING_ONLY)
def test_a_blocked_package_looks_as_if_it_were_not_installed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delitem(sys.modules, name, raising=False)
    before = [*sys.meta_path]
    with block_imports(), pytest.raises(ModuleNotFoundError, match=name) as raised:
        importlib.import_module(name)
    assert raised.value.name == name
    assert sys.meta_path == before


def test_a_package_that_is_loaded_stays_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", pytest)
    with block_imports():
        assert importlib.import_module("pandas") is pytest


def test_other_packages_are_not_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with block_imports():
        importlib.import_module("colorsys")


def test_pyarrow_works_without_pandas_after_its_first_array() -> None:
    assert run_python("-c", PYARROW).stdout == "False\n"
