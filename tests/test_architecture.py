"""Floors, rooms and circles: which package may import which, and what is not loaded when it is not needed.

Every import statement counts, wherever it stands: at the top of a module, inside a function (which only delays it) and
under ``if TYPE_CHECKING`` (to name a type is to know it). Imports by a computed name do not.
"""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

import pytest
from bank import REPOSITORY
from processes import run_python

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

WITH_ITS_LIBRARY = ("churn.database", "churn.tables.cells", "churn.tables.csv_file", "churn.tables.csv_push",
                    "churn.tables.encode", "churn.tables.rows", "churn.tables.shared_texts", "churn.identifiers",
                    "churn.layers", "churn.reasons.columns")  # fmt: skip
"""Modules that are imported where their library is there anyway: pyarrow, Keras."""

HEAVY = ("fastapi", "pandas", "tensorflow", "keras", "sklearn", "pyarrow", "onnxruntime", "cryptography")

FLOORS: dict[str, set[str]] = {
    "churn": set(),
    "records": {"churn"},
    "training": {"churn", "records"},
    "service": {"churn", "records"},
    "batch": {"churn", "records"},
    "cli": {"churn", "records", "training", "service", "batch"},
}
"""What a floor may import besides itself."""

ROOMS: dict[str, set[str]] = {
    "churn.runtime": set(),
    "churn.tables": {"churn.runtime"},
    "churn.trust": {"churn.runtime"},
    "churn.measures": set(),
    "churn.reasons": set(),
    "churn.whatif": set(),
    "batch.files": set(),
    "batch.spark": set(),
    "batch.sql": set(),
    "records.judging": set(),
    "records.migrations": set(),
    "service.wire": set(),
    "service.observe": set(),
    "service.guard": {"service.wire", "service.observe"},
    "service.keeping": {"service.observe", "service.guard"},
    "service.tables": {"service.observe", "service.guard", "service.keeping"},
    "service.predict": {"service.wire", "service.observe", "service.guard", "service.keeping", "service.tables"},
    "service.whatif": {"service.observe", "service.guard", "service.predict"},
    "service.console": set(),
    "service.oip": {"service.observe", "service.guard", "service.keeping", "service.predict"},
    "service.rollout": {"service.observe", "service.guard", "service.predict"},
    "service.api": {
        *("service.observe", "service.guard", "service.predict", "service.rollout", "service.tables"),
        "service.whatif",
    },
    "service.management": {"service.wire", "service.observe", "service.guard", "service.rollout", "service.api"},
    "training.default": set(),
    "training.judged": {"training.report"},
    "training.report": set(),
    "training.streaming": {"training.default", "training.report"},
    "training.tuning": {"training.default"},
}
"""What a sub-package may import of its siblings, besides the floors below."""

SHARED: dict[str, set[str]] = {
    "churn": {
        *("bundle", "columns", "dates", "drift", "engines", "errors", "identifiers", "names", "numerals", "schema"),
        *("database", "feature", "horizon", "leniency", "logistic", "scorer", "support"),
    },
    "records": {"decision", "find", "journal", "migrate", "replay", "store", "tables", "times"},
    "service": {"errors", "media_types", "query", "safe_headers", "settings", "state"},
}
"""Of a floor's own modules, those that its sub-packages may import; where a floor is missing, any of them."""

SCRIPTS = ("benchmarks", "deploy", "tests")
"""Folders of commands and tests, which nothing else imports."""


def list_files(package: str) -> list[Path]:
    return sorted((REPOSITORY / package).rglob("*.py"))


def name_module(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_module(path): path for tree in (*FLOORS, *SCRIPTS) for path in list_files(tree)}


def find_imports(source: str, module: str, known: Collection[str] = MODULES.keys()) -> set[str]:
    """Return what a module's source imports: modules of ours if they are known, else the names as they are written."""
    package = module if module in known and MODULES[module].stem == "__init__" else module.rpartition(".")[0]
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            names |= {".".join([*parents, *filter(None, [node.module]), alias.name]) for alias in node.names}
    # Commands and tests import what lies in their own folder, or in tests/, by its bare name.
    tree = module.split(".")[0]
    if tree in SCRIPTS:
        names |= {f"{folder}.{name}" for folder in {package, tree} for name in names}
    return {name if name in known else found for name in names if (found := name.rpartition(".")[0] or name)}


def find_circle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the nodes of a circle, the first one also as the last; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle
    return []


def name_room(module: str) -> str:
    """Return the sub-package that a module is in, or the floor if it is directly in that."""
    floor, *rest = module.split(".")
    return f"{floor}.{rest[0]}" if rest and (REPOSITORY / floor / rest[0]).is_dir() else floor


IMPORTS = {name: find_imports(path.read_text(encoding="utf-8"), name) for name, path in MODULES.items()}


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    return set(run_python("-c", code).stdout.split())


@pytest.mark.parametrize("floor", FLOORS)
def test_a_package_imports_from_the_floors_below_it_only(floor: str) -> None:
    modules = [name for name in MODULES if name.split(".")[0] == floor]
    assert modules
    for module in modules:
        packages = {name.split(".")[0] for name in IMPORTS[module]}
        above = packages & {*FLOORS, *SCRIPTS} - {floor} - FLOORS[floor]
        assert not above, f"{module} imports {above}"


@pytest.mark.parametrize("module", [name for name in MODULES if name_room(name) in ROOMS])
def test_a_module_imports_from_the_rooms_that_its_own_may_use(module: str) -> None:
    room, floor = name_room(module), module.split(".")[0]
    for name in IMPORTS[module] & MODULES.keys():
        if name.split(".")[0] != floor or name == floor:
            continue
        used = name_room(name)
        if used == floor:
            assert name.removeprefix(f"{floor}.") in SHARED.get(floor, {name.removeprefix(f"{floor}.")}), name
        else:
            assert used == room or used in ROOMS[room], f"{module} imports {name}"


def test_every_room_is_in_the_table_and_the_table_has_no_circle() -> None:
    rooms = {name_room(name) for name in MODULES if name.split(".")[0] in FLOORS} - FLOORS.keys()
    assert rooms <= ROOMS.keys()
    assert find_circle(ROOMS) == []
    assert find_circle(FLOORS) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert find_circle({name: (found & MODULES.keys()) - {name} for name, found in IMPORTS.items()}) == []


def test_importing_the_domain_loads_nothing_heavy() -> None:
    names = [name for name in MODULES if name.split(".")[0] == "churn" and name not in WITH_ITS_LIBRARY]
    assert "churn.scorer" in names
    loaded = loaded_by(f"import {', '.join(names)}")
    assert "numpy" in loaded
    assert not loaded & set(HEAVY)


def test_the_domain_loads_no_web_framework_nor_pandas_even_with_its_layers() -> None:
    for module, found in IMPORTS.items():
        if module.split(".")[0] == "churn":
            assert not {name.split(".")[0] for name in found} & {"fastapi", "pandas", "sklearn"}, module


def test_nothing_imports_pandas() -> None:
    product = {module: found for module, found in IMPORTS.items() if module.split(".")[0] in FLOORS}
    assert not [module for module, found in product.items() if any(name.split(".")[0] == "pandas" for name in found)]


def test_the_command_loads_its_jobs_only_when_they_are_called() -> None:
    loaded = loaded_by("import cli.main")
    assert not loaded & {*HEAVY, "records", "training", "service", "batch", "numpy", "sqlalchemy"}


@pytest.mark.parametrize("path", list_files("cli"), ids=lambda path: path.stem)
def test_a_command_imports_its_job_inside_its_function(path: Path) -> None:
    outside = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
    found = find_imports("\n".join(map(ast.unparse, outside)), name_module(path))
    assert not {name.split(".")[0] for name in found} & {"records", "training", "service", "batch"}


@pytest.mark.parametrize(
    ("source", "module", "expected"),
    [
        ("import service.app", "churn.schema", "service.app"),
        ("import service.app as a", "churn.schema", "service.app"),
        ("from service import app", "churn.schema", "service.app"),
        ("from service.app import ChurnService", "churn.schema", "service.app"),
        ("def f():\n    from training.job import train", "churn.schema", "training.job"),
        ("if TYPE_CHECKING:\n    from service.app import ChurnService", "churn.schema", "service.app"),
        ("try:\n    import service.app\nexcept ImportError:\n    pass", "churn.schema", "service.app"),
        ("from . import app", "service.server", "service.app"),
        ("from .app import ChurnService", "service.server", "service.app"),
        ("from ..app import ChurnService", "service.api.docs", "service.app"),
        ("from .. import app", "service.api.docs", "service.app"),
        ("from .docs import files", "service.api", "service.api.docs"),
        ("from serving import POINTS", "benchmarks.parts", "benchmarks.serving"),
        ("import serving", "benchmarks.parts", "benchmarks.serving"),
        ("from bank import REPOSITORY", "tests.service.running", "tests.bank"),
        ("from bundles import BANK", "tests.service.running", "tests.service.bundles"),
        ("import fastapi.routing", "churn.schema", "fastapi"),
    ],
)
def test_an_import_is_seen_however_it_is_written(source: str, module: str, expected: str) -> None:
    assert expected in find_imports(source, module)


def test_a_circle_is_seen() -> None:
    assert find_circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert set(find_circle({"a": {"b"}, "b": {"c"}, "c": {"b"}})) == {"b", "c"}
