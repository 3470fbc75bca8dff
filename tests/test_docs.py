"""The documentation is complete and true: settings, commands, routes, links and command lines."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from bank import REPOSITORY
from documents import PAGES, find_commands, find_dead_links, find_fault_in_command, find_missing_references

from cli.reference import describe_commands, replace_settings, walk_commands
from service.app import create_app
from service.settings import Settings
from training.default.config import Config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOCS = REPOSITORY / "docs"
CONFIGURATION = (DOCS / "configuration.md").read_text(encoding="utf-8")
HIDDEN = {"/v2/{rest:path}", "/docs-static", "/console/{digest}/{name:path}"}
"""Routes that answer no documented request: what is left of a protocol's paths, and the files of a page."""


SOURCES = [
    path
    for name in ("churn", "training", "service", "batch", "cli", "benchmarks", "deploy")
    for path in (REPOSITORY / name).rglob("*.*")
    if path.suffix in {".py", ".toml", ".yml", ".yaml", ".j2"}
] + [*REPOSITORY.glob("*.toml"), *REPOSITORY.glob("*.yml"), REPOSITORY / "Makefile", REPOSITORY / "Dockerfile"]


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def walk_routes(routes: list[Any]) -> Iterator[str]:
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from walk_routes(inner.routes)
        elif route.path not in HIDDEN:
            yield route.path


def test_the_generated_pages_are_current() -> None:
    assert (DOCS / "cli.md").read_text(encoding="utf-8") == describe_commands(), "run: make docs"
    assert replace_settings(CONFIGURATION) == CONFIGURATION, "run: make docs"


def test_every_command_and_option_is_documented() -> None:
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    for context in walk_commands():
        _, _, section = page.partition(f"## `{context.command_path}`\n")
        section = section.partition("\n## ")[0]
        for parameter in context.command.params:
            for name in (*parameter.opts, *parameter.secondary_opts):
                if name.startswith("--"):
                    assert re.search(rf"{name}\b", section), f"{context.command_path} {name}"


def test_every_setting_is_documented_with_its_default() -> None:
    for name, field in Settings.model_fields.items():
        assert f"| `CHURN_{name.upper()}` | `{field.default}` | {(field.description or '').split()[0]}" in CONFIGURATION


def test_every_environment_variable_of_the_commands_is_documented() -> None:
    variables = {str(parameter.envvar) for context in walk_commands() for parameter in context.command.params}
    variables -= {"None"}
    assert "CHURN_SQL_URL" in variables
    assert {variable for variable in variables if f"| `{variable}` |" not in CONFIGURATION} == set()


def test_the_hyperparameters_shown_are_the_defaults() -> None:
    (shown,) = re.findall(r"```toml\n(.*?)```", CONFIGURATION, re.DOTALL)
    assert tomllib.loads(shown)["network"] == Config().to_dict()


def test_the_table_of_settings_needs_its_markers() -> None:
    with pytest.raises(ValueError, match="both markers"):
        replace_settings(CONFIGURATION.replace("<!-- end", "<!-- END"))


def test_every_route_is_documented() -> None:
    pages = "".join((DOCS / name).read_text(encoding="utf-8") for name in ("http.md", "open-inference.md"))
    paths = set(walk_routes(create_app(Settings(admin=True)).routes))
    assert {"/predict", "/metrics", "/v2/models/churn/infer"} <= paths
    assert {path for path in paths if not re.search(rf"`(GET|POST|PUT|DELETE) {re.escape(path)}`", pages)} == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert find_dead_links(page, page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_line_exists(page: Path) -> None:
    commands = list(find_commands(page.read_text(encoding="utf-8")))
    assert [fault for fault in map(find_fault_in_command, commands) if fault] == []


def test_files_that_sources_and_pages_name_exist() -> None:
    texts = [*SOURCES, *PAGES]
    missing = {
        str(path): found for path in texts if (found := find_missing_references(path.read_text(encoding="utf-8")))
    }
    assert len(SOURCES) > 100
    assert missing == {}


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        ("    make serv\n", "make has no serv"),
        ("    make up DOKCER=podman\n", "make has no DOKCER=podman"),
        ("```console\n$ churn trian a.csv\n```\n", "churn has no command trian"),
        ("Use `churn score --resum`.\n", "score has no --resum"),
        ("    .venv/dev/bin/churn models verfy 1\n", "churn has no command verfy"),
        ("    zcat a.gz | churn score - --outptu - > b\n", "score has no --outptu"),
        ("    churn train a.csv --in-memroy   # a comment\n", "train has no --in-memroy"),
        ("    python benchmarks/bulk.py --row 5\n", "bulk.py has no --row"),
        ("    churn train a.csv --no-promote --stream\n    make test\n    churn --version\n", ""),
    ],
)
def test_a_wrong_command_line_is_found(page: str, fault: str) -> None:
    faults = [found for found in map(find_fault_in_command, find_commands(page)) if found]
    assert faults == ([fault] if fault else [])


@pytest.mark.parametrize(
    ("text", "dead"),
    [
        ("[a](nowhere.md)", ["nowhere.md"]),
        ("[a](http.md#no-such-heading)", ["http.md#no-such-heading"]),
        ("[a](#here)\n\n## There\n", ["#here"]),
        ("[a](../../etc/passwd)", ["../../etc/passwd"]),
        ("[a](#here-and-there)\n\n## Here, and `there`\n", []),
        ("[a](http.md) [b](https://example.com) [c](../README.md)", []),
        ('<a href="http.md"><img src="none.png" alt="a"></a>', ["none.png"]),
    ],
)
def test_a_dead_link_is_found(text: str, dead: list[str]) -> None:
    assert find_dead_links(DOCS / "batch.md", text) == dead


def test_a_file_that_does_not_exist_is_found() -> None:
    text = "see docs/nowhere.md, docs/http.md, benchmarks/none.py and `service/none.py`, not ../docs/none.md"
    assert find_missing_references(text) == ["benchmarks/none.py", "docs/nowhere.md", "service/none.py"]
