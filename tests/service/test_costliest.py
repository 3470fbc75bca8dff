"""The costliest inputs that were found stay within the bound on memory; ``make fuzz`` also measures their time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from bank import REPOSITORY
from processes import run_python

if TYPE_CHECKING:
    from pathlib import Path

GROWN_BYTES = 64 * 10**6


@pytest.mark.timeout(600)
def test_the_costliest_inputs_stay_within_the_bound_on_memory(bank_models: Path) -> None:
    done = run_python(REPOSITORY / "benchmarks/costliest.py", "--known", "--models", bank_models)
    found = {case["name"]: case for case in map(json.loads, done.stdout.splitlines())}
    assert len(found) == 33
    assert not {name: case for name, case in found.items() if case["status"] >= 500}
    assert {name: case["grown"] for name, case in found.items() if case["grown"] > GROWN_BYTES} == {}
