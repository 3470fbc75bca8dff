"""The floors of the house: who may import whom, and what is not loaded when it is not needed."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest
from bank import REPOSITORY
from processes import run_python

if TYPE_CHECKING:
    from pathlib import Path

WITH_ITS_LIBRARY = ("churn.arrow", "churn.identifiers", "churn.layers")
"""Modules that are imported where their library is there anyway: pyarrow, Keras."""

HEAVY = ("fastapi", "pandas", "tensorflow", "keras", "sklearn", "pyarrow", "onnxruntime")
MAY_IMPORT = {
    "churn": set(),
    "training": {"churn"},
    "service": {"churn"},
    "batch": {"churn"},
    "cli": {"churn", "training", "service", "batch"},
}
FLOORS = set(MAY_IMPORT)


def modules(package: str) -> list[Path]:
    return sorted((REPOSITORY / package).rglob("*.py"))


def imported_packages(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    return set(run_python("-c", code).stdout.split())


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_a_package_imports_from_the_floors_below_it_only(package: str) -> None:
    assert modules(package)
    for path in modules(package):
        above = imported_packages(ast.parse(path.read_text())) & FLOORS - {package} - MAY_IMPORT[package]
        assert not above, f"{path} imports {above}"


def test_importing_the_domain_loads_nothing_heavy() -> None:
    names = [".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in modules("churn")]
    names = [name.removesuffix(".__init__") for name in names if name not in WITH_ITS_LIBRARY]
    assert "churn.scorer" in names
    loaded = loaded_by(f"import {', '.join(names)}")
    assert "numpy" in loaded
    assert not loaded & set(HEAVY)


def test_the_domain_loads_no_web_framework_nor_pandas_even_with_its_layers() -> None:
    for path in modules("churn"):
        assert not imported_packages(ast.parse(path.read_text())) & {"fastapi", "pandas", "sklearn"}, path


def test_the_command_loads_its_jobs_only_when_they_are_called() -> None:
    loaded = loaded_by("import cli.main")
    assert not loaded & {*HEAVY, "training", "service", "batch", "numpy"}


@pytest.mark.parametrize("path", modules("cli"), ids=lambda path: path.stem)
def test_a_command_imports_its_job_inside_its_function(path: Path) -> None:
    outside = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
    jobs = imported_packages(ast.Module(body=list(outside), type_ignores=[])) & {"training", "service", "batch"}
    assert not jobs


def test_a_rising_import_would_be_seen() -> None:
    assert imported_packages(ast.parse("def f():\n    from training.job import train\n    import service.app")) == {
        "training",
        "service",
    }
